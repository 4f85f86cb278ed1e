"""What tasks wait for without a worker, and that each comes back from the database as it went in."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import time_machine

from tests.world import World, example, shanghai

JOURNEY = "birthday_care"
COHORT = shanghai("2026-12-07 06:00")
NEXT = COHORT + timedelta(days=1)


@pytest.fixture(autouse=True)
def impatient(house, monkeypatch):
    from retention.orchestration import triggers

    monkeypatch.setattr(triggers, "LOOK_AGAIN_S", 0.01)


def revive(trigger):
    """The trigger as the triggerer makes it of what is stored."""
    from airflow.sdk._shared.module_loading import import_string
    from airflow.sdk.serde import deserialize, serialize

    path, values = trigger.serialize()
    return import_string(path)(**deserialize(serialize(values)))


async def first_event(trigger, seconds: float = 5):
    return await asyncio.wait_for(anext(trigger.run()), seconds)


def test_a_step_waits_until_those_before_it_are_through(engine):
    from airflow.triggers.base import TaskSuccessEvent

    from retention.orchestration import cohort
    from retention.orchestration.triggers import StepTurnTrigger

    World(engine).customer("c", "12-10")
    cohort_id = cohort.enroll(engine, example(holdout="0%"), COHORT, mode="test", is_on_time=True).cohort_id
    trigger = revive(StepTurnTrigger(cohort_id, "last_day"))

    async def greet_meanwhile():
        waiting = asyncio.create_task(first_event(trigger))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        for shard in cohort.plan(engine, cohort_id, "greeting").shards:
            cohort.deliver(engine, cohort_id, "greeting", "sms", **shard)
        return await waiting

    assert isinstance(asyncio.run(greet_meanwhile()), TaskSuccessEvent)


@pytest.mark.parametrize("now", ["queued", "failed", "success"])
def test_a_day_waits_for_earlier_ones_that_are_about_to_enroll(house, monkeypatch, now):
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from retention.orchestration.triggers import EarlierDaysTrigger

    asked = []

    def get_task_states(**question):
        asked.append(question)
        return {"r1": {"enroll": "running" if len(asked) < 3 else now}}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", get_task_states)
    trigger = revive(EarlierDaysTrigger(JOURNEY, "enroll", [COHORT], NEXT + timedelta(minutes=30)))
    with time_machine.travel(NEXT):
        if now == "queued":
            with pytest.raises(TimeoutError):
                asyncio.run(first_event(trigger, 0.3))
        else:
            asyncio.run(first_event(trigger))
            assert len(asked) == 3
    assert asked[0] == {"dag_id": JOURNEY, "task_ids": ["enroll"], "logical_dates": [COHORT]}


def test_nobody_waits_for_a_day_that_hangs_for_ever(house, monkeypatch):
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from retention.orchestration.triggers import EarlierDaysTrigger

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **_: {"r1": {"enroll": "running"}})
    with time_machine.travel(NEXT):
        asyncio.run(first_event(EarlierDaysTrigger(JOURNEY, "enroll", [COHORT], NEXT + timedelta(seconds=0.2))))


def test_days_made_up_at_once_enroll_in_order(house, engine):
    world = World(engine)
    world.customer("late", "12-10", since=shanghai("2026-12-07 12:00"))  # known too late for the first, in both windows
    world.customer("both", "12-11")
    house.parse()
    with time_machine.travel(NEXT + timedelta(hours=1)):
        house.start(JOURNEY, "second", logical_date=NEXT)
        house.start(JOURNEY, "first", logical_date=COHORT)
        assert house.work(JOURNEY, "second", only="enroll")["enroll"] == "deferred"
        assert house.work(JOURNEY, "first", only="enroll")["enroll"] == "success"
        assert house.work(JOURNEY, "second", only="enroll")["enroll"] == "success"
    assert [day for (day,) in world.rows("select cohort_at from cohorts order by cohort_id")] == [COHORT, NEXT]
