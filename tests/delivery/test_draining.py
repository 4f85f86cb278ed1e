"""The end of a journey: draining lets nobody in and finishes who is under way; stopped sends nothing, at any stage."""

from __future__ import annotations

from datetime import timedelta

import pytest

from retention.insight.status import lift_stop, stop_sending
from retention.orchestration import cohort
from retention.orchestration.alone import run_cohort
from retention.orchestration.outlook import look_ahead
from tests.world import example, shanghai

AT = shanghai("2026-12-01 06:00")
GREETING, LAST_DAY = shanghai("2026-12-01 10:00"), shanghai("2026-12-07 10:00")
DAY = timedelta(days=1)


def version_of(status: str):
    return example(holdout="0%", status=status)


@pytest.fixture
def people(world):
    """One cohort's worth a day, on two days."""
    for n in range(6):
        world.customer(f"c{n}", "12-04" if n < 4 else "12-05")
    return world


def take(people, status: str, moment, at=AT, said=None):
    """What is due of a cohort at this moment, the file saying `status` by then."""
    lines = [].append if said is None else said.append
    return run_cohort(people.engine, version_of(status), at, clock=lambda: moment, on_progress=lines)


def decided(people) -> list[tuple]:
    return people.rows(
        "select step, decision, reason, count(*) from messages where step <> 'thanks' group by 1, 2, 3 order by 1, 2, 3"
    )


def test_draining_lets_nobody_in_and_who_is_under_way_gets_every_step(people):
    take(people, "active", AT)
    said: list[str] = []
    empty = take(people, "draining", AT + DAY, AT + DAY, said).entered
    assert (empty.enrolled, empty.refused) == (0, {}) and "status draining: nobody enters any more" in said
    assert people.rows("select cohort_at, candidates from cohorts order by 1") == [(AT, 4), (AT + DAY, 0)], "on record"
    take(people, "draining", GREETING)
    take(people, "draining", LAST_DAY)
    assert decided(people) == [("greeting", "send", None, 4), ("last_day", "send", None, 4)]
    assert people.count("outbox") == 8 and people.count("enrollments") == 4


def test_stopped_sends_nothing_and_due_steps_say_so(people):
    take(people, "active", AT)
    take(people, "active", GREETING)
    assert take(people, "stopped", AT + DAY, AT + DAY).entered.enrolled == 0
    take(people, "stopped", LAST_DAY)
    assert decided(people) == [("greeting", "send", None, 4), ("last_day", "skip", "stopped", 4)]
    assert people.count("outbox") == 4
    take(people, "active", LAST_DAY + timedelta(hours=1))
    assert people.count("outbox") == 4, "what was stopped is not made up"


@pytest.mark.parametrize("by", ["file", "command"])
def test_what_is_decided_and_not_handed_over_is_withheld(people, by):
    entered = cohort.enroll(people.engine, version_of("active"), AT, clock=lambda: AT)
    cohort.plan(people.engine, entered.cohort_id, "greeting", clock=lambda: GREETING)
    if by == "command":
        with people.engine.begin() as conn:
            stop_sending(conn, "birthday_care", reason="wrong price", actor="ada", now=GREETING)
    for channel in ("sms", "email"):
        cohort.deliver(
            people.engine, entered.cohort_id, "greeting", channel, is_stopped=by == "file", clock=lambda: GREETING
        )
    assert decided(people) == [("greeting", "send", None, 4)] and people.count("outbox") == 0
    assert people.rows("select kind, reason, count(*) from outcomes group by 1, 2") == [("withheld", "stopped", 4)]
    if by == "command":
        with people.engine.begin() as conn:
            assert lift_stop(conn, "birthday_care", reason="corrected", actor="ada", now=GREETING)
    assert take(people, "active", GREETING + timedelta(hours=1)).entered.is_joined
    assert people.count("outbox") == 0, "lifted or not, it is not made up"


@pytest.mark.parametrize(
    ("status", "words"), [("active", "today's cohort"), ("draining", "nobody enters"), ("stopped", "nothing is sent")]
)
def test_what_comes_next_is_said_as_it_is(people, status, words):
    assert words in look_ahead(people.engine, version_of(status), AT + timedelta(hours=1))[0]
