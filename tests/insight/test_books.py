"""The books of a cohort: open as long as one step owes somebody a decision."""

import pytest

from retention.errors import BooksOpen
from retention.orchestration import cohort
from tests.world import example, shanghai

AT = shanghai("2026-12-07 06:00")


def test_a_step_that_decided_for_nobody_keeps_them_open_whatever_the_other_step_did(world):
    for n in range(3):
        world.customer(f"c{n}", "12-10")
    entered = cohort.enroll(world.engine, example(), AT, mode="test", is_on_time=True)
    cohort.plan(world.engine, entered.cohort_id, "last_day")
    with pytest.raises(BooksOpen, match="greeting: 3 undecided - clear the step's `plan`"):
        cohort.settle(world.engine, entered.cohort_id)
    for step in ("greeting", "last_day"):
        for shard in cohort.plan(world.engine, entered.cohort_id, step).shards:
            for channel in ("sms", "email"):
                cohort.deliver(world.engine, entered.cohort_id, step, channel, **shard)
    cohort.settle(world.engine, entered.cohort_id)
    assert world.rows("select status from cohorts") == [("settled",)]
