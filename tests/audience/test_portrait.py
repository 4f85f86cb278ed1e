"""`retention explain`: scores with what they rest on, the history of tiers, why in or out of an audience."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import text

from retention.audience.scores import refresh_scores
from retention.audience.scores.churn import refresh_churn
from retention.audience.scores.next_purchase import fit_cycles
from retention.audience.scores.portrait import draw_portrait
from retention.audience.scores.preferences import refresh_preferences
from retention.audience.scores.strata import refresh_strata
from retention.audience.scores.value_dimensions import refresh_points
from retention.errors import StoreError
from retention.intake.merge import merge_customers
from tests.audience.test_preferences import Mailbox
from tests.world import shanghai

ZONE = "Asia/Shanghai"
AT = shanghai("2026-11-20 02:00")
LATER = AT + timedelta(days=2)


@pytest.fixture
def told(world):
    """A customer with orders, answers, scores of two dates, and somebody merged into her."""
    world.customer("a", "11-24")
    world.customer("old", consent=())
    for n, day in enumerate((95, 65, 35)):
        world.order(f"o{n}", "a", AT - timedelta(days=day))
    world.add("events", customer_id="a", kind="login", occurred_at=AT - timedelta(days=3), recorded_at=AT - timedelta(days=3))  # fmt: skip
    mailbox = Mailbox(world.engine)
    mailbox.many("a", "sms", AT - timedelta(days=9), 3, 2)
    for at in (AT, LATER):
        refresh_scores(world.engine, at, now=at)
        with world.engine.begin() as conn:
            refresh_churn(conn, at, now=at, zone=ZONE)
            refresh_preferences(conn, at, zone=ZONE)
            refresh_points(conn, at, now=at, zone=ZONE)
            refresh_strata(conn, at, now=at, zone=ZONE)
            fit_cycles(conn, at, zone=ZONE)
        world.order("late", "a", AT + timedelta(days=1)) if at == AT else None
    with world.engine.begin() as conn:
        merge_customers(conn, "a", "old", reason="same", actor="test", now=LATER)
    return world


def test_everything_as_of_then_and_nothing_is_left_behind(told):
    everything = "select (select count(*) from tiers), (select count(*) from customer_preferences), (select count(*) from churn), (select count(*) from information_schema.tables where table_name like 'scratch%')"  # fmt: skip
    before = told.rows(everything)
    then = draw_portrait(told.engine, "old", AT + timedelta(hours=1), zone=ZONE)
    assert then.customer_id == "a" and then.tiers.sums["orders"] == 3 and then.churn.indicators
    assert (then.answers[0].option, then.answers[0].responses) == ("sms", 2) and then.value is None
    assert [(it.category, it.intervals) for it in then.next_purchases] == [("coffee", 2)] or not then.next_purchases
    now = draw_portrait(told.engine, "a", LATER, zone=ZONE)
    assert now.tiers.sums["orders"] == 4 and now.next_purchases[0].own_days == 30
    assert told.rows(everything) == before
    early = draw_portrait(told.engine, "a", AT - timedelta(days=1), zone=ZONE)
    assert (early.tiers, early.churn, early.value, early.points, early.stratum) == (None,) * 5


def test_while_scores_are_worked_out_it_says_so(told, retention):
    with told.engine.connect() as other:
        other.execute(text("create unlogged table scratch_touched as select 'x' as customer_id"))
        with pytest.raises(StoreError, match="being worked out just now"):
            draw_portrait(told.engine, "a", LATER, zone=ZONE)
        said = retention("explain", "a")
        assert "being worked out just now" in said.stdout and "consent granted" in said.stdout


def test_the_command(told, retention):
    day = ("--date", "2026-11-22")
    said = retention("explain", "a", "--date", "2026-11-21", "--audience", "birthday_in_3_days")
    assert said.returncode == 0, said.stderr
    for part in (
        "six: ", "mid beyond", "orders, CNY 300.00 in 365d", "History of tiers", "Churn: ", "overdue", "Value: ", "purchases", "Stratum: ", "sms",
        "nearest to her levels", "IN, by birthday:2026", "It asks: Customers whose birthday", "email: yes",
        "whatsapp: no consent to marketing", "consent granted",
    ):  # fmt: skip
        assert part in said.stdout, (part, said.stdout)
    assert "OUT: it does not name her" in retention("explain", "a", "--date", "2026-11-10", "--audience", "birthday_in_3_days").stdout  # fmt: skip
    found = json.loads(retention("explain", "old", *day, "--audience", "birthday_in_3_days", "--json").stdout)
    assert found["scores"]["customer_id"] == "a" and found["audience"]["is_in"] and found["scores"]["tiers"]["history"]
    assert "There is: " in retention("explain", "a", "--audience", "nine").stderr
