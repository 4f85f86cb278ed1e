"""A step once more, where it could go wrong: late events, numbers that grew, contacts that are counted."""

import pytest
from sqlalchemy import text

from retention.errors import RetentionError
from retention.orchestration import cohort
from retention.orchestration.rerun import find_question, note_question
from tests.delivery.test_plan import AT, deliver, plan
from tests.orchestration.test_rerun import (  # noqa: F401 - a fixture
    GREETING,
    HOUR,
    LATER,
    TODAY,
    VERSION,
    again,
    arrived,
    hear,
    sent,
)
from tests.world import DAY


def test_what_the_provider_reports_has_arrived_whatever_was_lost(world, sent):  # noqa: F811
    sent(3)
    hear(world, "c0", "unknown")
    hear(world, "c1", "unknown")
    hear(world, "c2", "refused", "unaccounted")
    for who in ("c1", "c2"):
        world.add(
            "outcomes",
            message_id=world.rows(
                "select message_id from messages join enrollments using (enrollment_id) where customer_id = :who", who=who
            )[0][0],
            kind="delivered", occurred_at=GREETING + HOUR, recorded_at=GREETING + HOUR, event_key=7,
        )  # fmt: skip
    [done] = again(world, "unknown")
    assert done.fates == {"unknown": 1, "arrived": 2} and done.sends == 1
    by_hand = "select count(*)::int from outcomes where reason = 'by_hand'"
    assert world.rows(by_hand) == [(1,)], "nobody says against the provider that it did not arrive"


def test_a_repeat_that_is_withheld_leaves_the_first_contact_counted(world, sent):  # noqa: F811
    sent(2)
    rules = cohort.read_rules()
    with world.engine.begin() as conn:
        conn.execute(text("delete from contact_slots"))
        conn.execute(
            text(
                "insert into contact_slots (customer_id, mode, day, nth, journey, channel, enrollment_id, step)"
                " select customer_id, mode, date '2026-12-01', 1, journey, 'email', enrollment_id, 'greeting' from enrollments"
            )
        )
    world.suppress("email", "c0@example.com", GREETING + HOUR)
    again(world, "everyone", policy=rules, at=LATER + 24 * HOUR)
    assert arrived(world) == {"c0": 1, "c1": 2}
    slots = "select customer_id, count(*)::int from contact_slots group by 1 order by 1"
    assert world.rows(slots) == [("c0", 1), ("c1", 2)]


def test_nobody_is_contacted_twice_whom_nobody_approved(world, sent):  # noqa: F811
    sent(3)
    with pytest.raises(RetentionError, match="1 more than were approved had the step before"):
        again(world, "everyone", approved={1: 2})
    assert set(arrived(world).values()) == {1} and world.count("audit_log", action="rerun") == 0
    [done] = again(world, "everyone", approved={1: 3})
    assert done.twice == 3 and set(arrived(world).values()) == {2}


def test_one_cohort_with_more_than_was_approved_holds_back_all(world, sent):  # noqa: F811
    sent(2)
    world.customer("next", "12-05", consent=("email",))
    at = AT + DAY
    later = cohort.enroll(world.engine, VERSION, at, clock=lambda: at).cohort_id
    plan(world, later, at=GREETING + DAY)
    deliver(world, later, at=GREETING + DAY)
    two_days = {"last": TODAY + DAY, "at": GREETING + DAY + HOUR}
    with pytest.raises(RetentionError, match="cohort of 2026-12-02 06:00: 1 more than were approved"):
        again(world, "everyone", approved={1: 3}, **two_days)
    assert world.count("audit_log", action="rerun") == 0, "nothing was decided for the first one either"
    again(world, "everyone", approved={1: 2, later: 1}, **two_days)
    assert world.count("audit_log", action="rerun") == 2


def test_a_run_asks_once(engine):
    ask = {"key": "r1", "actor": "ada", "at": LATER}
    assert find_question(engine, "r1") is None
    note_question(engine, "birthday_care", approved={7: 19}, **ask)
    note_question(engine, "birthday_care", approved={7: 19}, **ask)
    with pytest.raises(RetentionError, match="asked for 19 people, and by now there are 43"):
        note_question(engine, "birthday_care", approved={7: 19, 8: 24}, **ask)
    assert find_question(engine, "r1") == {7: 19}
