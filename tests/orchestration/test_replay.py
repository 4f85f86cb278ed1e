"""Replays: the engine over history decides what it would have decided, twice the same, and touches nothing that is real."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from retention.journey.files import Files
from retention.journey.load import load
from retention.journey.policy import read_policy
from retention.journey.scores import Scores
from retention.orchestration import cohort
from retention.orchestration.alone import run_cohort
from retention.orchestration.replay import fingerprint, replay
from retention.orchestration.scoring import bring_scores, needs_scores
from retention.store.migrate import create_database
from retention.store.scratch import scratch_store
from tests.world import example_files, shanghai

FILES = example_files()
BIRTHDAY = {"birthday_care": load(FILES).versions["birthday_care"]}
RULES = read_policy(FILES)
FIRST, LAST = date(2026, 3, 1), date(2026, 3, 6)


@pytest.fixture
def shop(world):
    for n in range(60):
        day = FIRST + timedelta(days=n % 20)
        world.customer(f"c{n:02}", f"{day:%m-%d}", consent=("sms", "email") if n % 3 else ("email",))
    return world


def play(shop, *, first=FIRST, last=LAST, as_it_happened=True, **more):
    with scratch_store(shop.engine, as_it_happened=as_it_happened) as scratch:
        return replay(scratch, BIRTHDAY, first, last, policy=RULES, **more)


def list_databases(engine) -> set[str]:
    with engine.connect() as conn:
        return {name for name in conn.scalars(text("select datname from pg_database")) if "_replay_" in name}


def test_two_replays_decide_the_same_and_leave_nothing(shop):
    one, other = play(shop), play(shop)
    assert one == other and one.fingerprint == other.fingerprint
    sent = sum(it["accepted"] for it in one.decisions)
    assert sent == sum(it["people"] * it["messages"] for it in one.contacts) > 10
    assert one.busiest == 1 and one.troubles == [] and one.days == 6
    assert sum(it["people"] for it in one.entered) == 24, "birthdays of March 2 (the first cohort looks back) to 9"
    assert [shop.count(table) for table in ("cohorts", "messages", "outbox", "coupons", "audit_log")] == [0, 0, 0, 0, 0]
    assert list_databases(shop.engine) == set()


def test_it_decides_what_the_engine_decided(shop):
    day, version = FIRST + timedelta(days=4), BIRTHDAY["birthday_care"]
    at = shanghai(f"{day} 06:00")
    for days in (0, 1, 3, 6, 9):
        moment = max(at, shanghai(f"{day + timedelta(days=days)} 10:00")) if days else at
        run_cohort(shop.engine, version, at, mode="test", clock=lambda moment=moment: moment)
    with scratch_store(shop.engine, as_it_happened=True) as scratch:
        replay(scratch, BIRTHDAY, day, day, policy=RULES)
        with scratch.begin() as conn:  # what is due after the replay's last day
            assert conn.scalar(text("select count(*) from messages where step = 'last_day'")) == 0
    with scratch_store(shop.engine, as_it_happened=True) as scratch:
        found = replay(scratch, BIRTHDAY, day, day + timedelta(days=8), policy=RULES)
        assert found.troubles == []
        with scratch.begin() as conn:
            others = "(select cohort_id from cohorts where cohort_at <> :at)"
            theirs = f"(select message_id from messages where cohort_id in {others})"
            entered = f"(select enrollment_id from enrollments where cohort_id in {others})"
            for which in (
                f"outcomes where message_id in {theirs}", f"outbox where message_id in {theirs}",
                f"messages where cohort_id in {others}", f"coupons where enrollment_id in {entered}",
                f"enrollments where cohort_id in {others}",
            ):  # fmt: skip
                conn.execute(text(f"delete from {which}"), {"at": at})
        assert shop.count("outbox") > 3
        assert fingerprint(scratch) == fingerprint(shop.engine)


def test_facts_count_from_when_they_happened_or_from_when_they_were_known(shop):
    late = shanghai("2026-06-01 00:00")
    with shop.engine.begin() as conn:
        conn.execute(text("update customers set recorded_at = :late where customer_id >= 'c30'"), {"late": late})
        conn.execute(text("delete from customer_history"))
    happened, known = play(shop), play(shop, as_it_happened=False)
    assert sum(it["people"] for it in happened.entered) == 24
    assert sum(it["people"] for it in known.entered) < 24


def test_a_cohort_that_would_be_held_is_told_and_goes_on(shop, monkeypatch):
    monkeypatch.setattr("retention.audience.entry.HOLD_AT_LEAST", 1)
    monkeypatch.setattr("retention.audience.entry.HOLD_FACTOR", 0)
    found = play(shop)
    assert len(found.held) > 2 and sum(it["people"] for it in found.entered) == 24


def test_what_a_killed_replay_left_is_dropped_by_the_next(shop):
    ours = make_url(shop.engine.url)
    names = [f"{ours.database}_replay_{it}" for it in ("dead", "alive")]
    for name in names:
        create_database(ours.set(database=name).render_as_string(hide_password=False))
    other = create_engine(ours.set(database=names[1]))
    with other.connect():
        play(shop, last=FIRST)
        assert list_databases(shop.engine) == {names[1]}, "one that is in use stays"
    other.dispose()
    play(shop, last=FIRST)
    assert list_databases(shop.engine) == set()


def test_an_old_shop_can_be_played(shop):
    found = play(shop, first=date(1997, 12, 28), last=date(1997, 12, 30))
    assert found.decisions == [] and found.entered == []
    assert isinstance(cohort.read_clock(), datetime)


def test_scores_are_brought_up_once_a_day_before_anybody_enters(shop):
    seen = []
    play(shop, last=FIRST + timedelta(days=2), refresh=lambda engine, moment: seen.append(moment))
    assert seen == [shanghai(f"2026-03-0{n} 00:00") for n in (1, 2, 3)]


def test_scores_are_brought_along_for_journeys_that_read_them(shop):
    texts = dict(FILES)
    path = "journeys/birthday_care.yaml"
    texts[path] = texts[path].replace("audience: birthday_in_3_days", "audience: became_churn_warning")
    reading = {"birthday_care": load(Files(texts)).versions["birthday_care"]}
    assert needs_scores(reading["birthday_care"]) and not needs_scores(BIRTHDAY["birthday_care"])
    stands = []

    def refresh(engine, at):
        bring_scores(engine, at, Scores())
        stands.append(at)

    with scratch_store(shop.engine, as_it_happened=True) as scratch:
        found = replay(scratch, reading, FIRST, FIRST + timedelta(days=1), policy=RULES, refresh=refresh)
        with scratch.connect() as conn:
            assert conn.scalar(text("select count(*) from score_runs")) == len(stands) == 2
    assert found.days == 2
    with shop.engine.connect() as conn:
        assert conn.scalar(text("select count(*) from score_runs")) == 0


def test_what_coupons_would_have_cost_is_told_by_currency_and_once_for_each(shop):
    first, reminded = shanghai("2026-03-04 12:00"), shanghai("2026-03-09 20:00")  # those of March 6 had theirs on the third
    shop.order("o1", "c05", reminded)  # two messages have spoken of it
    shop.add("orders", order_id="o2", customer_id="c25", occurred_at=first, recorded_at=first, amount=50, currency="USD")
    shop.order("o3", "c45", first - timedelta(days=2))  # before the coupon came
    found = play(shop, last=date(2026, 3, 10))
    assert any(it["step"] == "last_day" and it["accepted"] for it in found.decisions)
    sent = {it["step"]: it for it in found.coupons}["greeting"]
    by_hand = {"CNY": 20, "USD": 10}
    assert sent["cost"] == by_hand and sent["ordered"] == 2 and sent["issued"] > 5
