"""Maintenance: what is older than its period goes, what is younger stays; months go whole and leave their counts."""

import os
from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import text

from retention.bench.world import NO_RULES
from retention.orchestration import cohort
from retention.orchestration.upkeep import maintain
from retention.store.months import list_months
from tests.world import DAY, example, shanghai

KEEP = {"messages": 400 * DAY, "raw_events": 90 * DAY, "outbox": 90 * DAY, "rejected_rows": 30 * DAY}
AT = shanghai("2026-01-05 06:00")
DUE = shanghai("2026-01-05 10:00")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "imports").mkdir()
    return tmp_path


def go_through(world, at=AT, *, settled=True):
    """A cohort of two that was planned, delivered, and settled."""
    made = cohort.enroll(world.engine, example(holdout="0%"), at, clock=lambda: at)
    due = at + timedelta(hours=4)
    cohort.plan(world.engine, made.cohort_id, "greeting", policy=NO_RULES, clock=lambda: due)
    for channel in ("sms", "email"):
        cohort.deliver(world.engine, made.cohort_id, "greeting", channel, policy=NO_RULES, clock=lambda: due)
    if settled:
        with world.engine.begin() as conn:
            conn.execute(text("update cohorts set status = 'settled'"))
    return made.cohort_id


def let_go(world, home, now, **more):
    return maintain(world.engine, more.pop("keep", KEEP), now=now, home=home, actor="test", **more)


def test_a_month_goes_whole_and_leaves_its_counts(world, home):
    world.customer("a", "01-08")
    world.customer("b", "01-08", consent=())
    go_through(world)
    # January ends in UTC; it goes when its last message is older than the period and two months more.
    ends = datetime.fromisoformat("2026-02-01T00:00+00:00")
    early = let_go(world, home, ends + KEEP["messages"] + timedelta(days=62) - timedelta(seconds=1))
    assert early.months == [] and world.count("messages") == 2
    done = let_go(world, home, ends + KEEP["messages"] + timedelta(days=62))
    assert done.months == ["2026-01"]
    assert world.count("messages") == world.count("outcomes") == 0
    counted = world.rows("select month, step, what, reason, messages from month_counts order by what, reason")
    assert counted == [
        (date(2026, 1, 1), "greeting", "accepted", None, 1),
        (date(2026, 1, 1), "greeting", "send", None, 1),
        (date(2026, 1, 1), "greeting", "skip", "no_consent", 1),
    ]
    assert world.count("enrollments") == 2, "who entered stays, or would enter again"
    assert world.rows("select distinct email, phone from enrollments") == [(None, None)]
    again = let_go(world, home, ends + KEEP["messages"] + timedelta(days=63))
    assert again.months == [] and world.count("month_counts") == 3


def test_a_month_with_open_books_stays_and_says_so(world, home):
    world.customer("a", "01-08")
    go_through(world, settled=False)
    done = let_go(world, home, AT + 600 * DAY)
    assert done.months == [] and world.count("messages") == 1
    assert "stays: 1 of its cohorts have open books (birthday_care of 2026-01-0" in done.waiting[0]


def test_months_to_come_are_open(world, home):
    let_go(world, home, AT)
    with world.engine.connect() as conn:
        assert {date(2026, 1, 1), date(2026, 2, 1)} <= set(list_months(conn, "messages"))


def test_what_is_older_than_its_period_goes_at_its_edge(world, home):
    now = shanghai("2026-06-01 12:00")

    def put(kind, days, n, **more):
        at = now - days * DAY
        if kind == "inbox":
            return world.add("inbox", source="shop", body=b"{}", received_at=at, interpreted_at=at, **more)
        if kind == "replies":
            return world.add(
                "replies", channel="sms", address="+861", provider_id=f"p{n}", meaning="reply", text="hi", occurred_at=at,
                recorded_at=at,
            )  # fmt: skip
        return world.add(
            "contact_slots", customer_id=f"c{n}", mode="live", day=at.date(), nth=1, journey="j", channel="sms",
            enrollment_id=1, step="s",
        )  # fmt: skip

    for kind, most in (("inbox", 90), ("replies", 90), ("contact_slots", 60)):
        for n, days in enumerate((most - 1, most + 1)):
            put(kind, days, n)
    world.add("inbox", source="shop", body=b"{}", received_at=now - 300 * DAY, interpreted_at=None)
    seen = let_go(world, home, now, is_dry=True)
    assert (seen.rows["inbox"], seen.rows["replies"], seen.rows["contact_slots"]) == (1, 1, 1)
    assert world.count("inbox") == 3, "a dry run changes nothing"
    done = let_go(world, home, now)
    assert done.rows == seen.rows
    assert world.count("replies") == world.count("contact_slots") == 1
    assert world.count("inbox") == 2, "what nobody has understood yet stays"
    [(detail,)] = world.rows("select detail from audit_log where action = 'maintain'")
    assert detail["rows"]["inbox"] == 1


def test_forever_is_for_ever(world, home):
    world.customer("a", "01-08")
    go_through(world)
    done = let_go(world, home, AT + 9000 * DAY, keep=dict.fromkeys(KEEP))
    assert done.months == [] and world.count("messages") == 1 and world.count("outbox") == 1


def test_files_of_rejected_rows_go_with_them(world, home):
    now = shanghai("2026-06-01 12:00")
    for name, days in (("old.csv", 31), ("new.csv", 29)):
        path = home / "imports" / name
        path.write_text("x")
        at = (now - days * DAY).timestamp()
        os.utime(path, (at, at))
    assert let_go(world, home, now).files == 1
    assert [path.name for path in (home / "imports").iterdir()] == ["new.csv"]
