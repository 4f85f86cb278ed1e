"""While data are held the tasks of a journey wait without a worker, and go on by themselves when it is over."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import text

from tests.world import World, shanghai

JOURNEY = "birthday_care"
COHORT = shanghai("2026-12-07 06:00")
NEXT = COHORT + timedelta(days=1)
GREETING = shanghai("2026-12-07 10:00")


@pytest.fixture
def people(house, engine, monkeypatch):
    """Sixty customers whose birthday is in three days, nobody in the holdout; triggers that look again at once."""
    from retention.orchestration import triggers

    monkeypatch.setattr(triggers, "DATA_LOOK_AGAIN_S", 0.01)
    house.change(JOURNEY, holdout="0%")
    world = World(engine)
    for n in range(60):
        world.customer(f"c{n}", "12-10")
    house.parse()
    return world


def look_over(world: World, rejected: int, at=COHORT) -> None:
    """A load of 1,000 rows, so many of them bad."""
    from retention.intake.quality import check_quality
    from retention.intake.quality_policy import QualityPolicy

    world.add(
        "imports",
        mapping="crm",
        source="crm",
        name="crm.csv",
        actor="ada",
        is_history=False,
        state="done",
        started_at=at,
    )
    with world.engine.begin() as conn:
        check_quality(
            conn, import_id=conn.scalar(text("select max(import_id) from imports")), source="crm", tables=set(),
            rows_read=1000, rows_rejected=rejected, policy=QualityPolicy(), now=at, zone="Asia/Shanghai",
        )  # fmt: skip


def sent(world: World) -> list[tuple]:
    return world.rows(
        "select step, count(*), count(distinct message_id) from outbox join messages using (message_id) group by 1"
    )


def test_a_day_that_began_under_a_hold_enters_when_it_is_over(house, people, caplog):
    with time_machine.travel(COHORT + timedelta(minutes=1)) as clock, caplog.at_level(logging.WARNING):
        look_over(people, rejected=500)
        house.start(JOURNEY, "r1", logical_date=COHORT)
        states = house.work(JOURNEY, "r1")
        assert states["enroll"] == "deferred" and states["run"] == "running" and people.count("cohorts") == 0
        assert "500 of the 1,000 rows read were rejected" in caplog.text
        assert 'retention quality --accept "reason"' in caplog.text
        clock.move_to(GREETING + timedelta(hours=1))
        assert house.work(JOURNEY, "r1")["enroll"] == "deferred", "as long as it takes"
        look_over(people, rejected=0, at=GREETING + timedelta(hours=1))
        states = house.work(JOURNEY, "r1")
        assert states["enroll"] == states["greeting.deliver_sms[0]"] == "success"
        assert states["last_day.wait"] == "deferred"
    assert people.rows("select cohort_at from cohorts") == [(COHORT,)], "its own moment, however late it enters"
    assert sent(people) == [("greeting", 60, 60)]


@pytest.mark.parametrize("task", ["greeting.plan", "greeting.deliver_sms"])
def test_a_step_waits_for_data_and_goes_on_with_nothing_lost(house, people, task):
    with time_machine.travel(COHORT + timedelta(minutes=1)) as clock:
        house.start(JOURNEY, "r1", logical_date=COHORT)
        house.work(JOURNEY, "r1", only="enroll")
        clock.move_to(GREETING + timedelta(minutes=1))
        if task == "greeting.deliver_sms":
            house.work(JOURNEY, "r1", only=r".*(wait|plan)")
        look_over(people, rejected=500, at=GREETING)
        states = house.work(JOURNEY, "r1")
        waiting = [name for name, state in states.items() if state == "deferred" and not name.endswith("wait")]
        assert waiting and all(name.startswith(task.removesuffix("_sms")) for name in waiting), states
        assert not people.count("outbox") and states["settle"] == "None"
        look_over(people, rejected=0, at=GREETING + timedelta(minutes=1))
        states = house.work(JOURNEY, "r1")
        assert states["greeting.deliver_sms[0]"] == states["greeting.deliver_email[0]"] == "success"
        assert sent(people) == [("greeting", 60, 60)]
        clock.move_to(shanghai("2026-12-13 10:00"))
        assert set(house.work(JOURNEY, "r1").values()) == {"success"}, "the books close"


def test_a_hold_in_mid_delivery_defers_it_and_each_message_goes_out_once(house, people, monkeypatch):
    from retention.delivery.channels.outbox import OutboxProvider

    hand_over, calls = OutboxProvider.hand_over, []

    def hold_at_first(self, letters, *rest):
        calls.append(len(letters))
        if len(calls) == 1:
            look_over(people, rejected=500, at=GREETING)
        return hand_over(self, letters, *rest)

    monkeypatch.setattr(OutboxProvider, "hand_over", hold_at_first)
    with time_machine.travel(GREETING + timedelta(minutes=1)):
        house.start(JOURNEY, "r1", logical_date=COHORT)
        states = house.work(JOURNEY, "r1")
        assert states["greeting.deliver_sms[0]"] == "deferred" and sum(calls) == people.count("outbox") < 60
        look_over(people, rejected=0, at=GREETING + timedelta(minutes=1))
        assert house.work(JOURNEY, "r1")["greeting.deliver_sms[0]"] == "success"
    assert sent(people) == [("greeting", 60, 60)] and sum(calls) == 60


def test_days_that_waited_for_data_enter_in_order(house, people):
    people.customer("both", "12-11")  # in both days' windows
    with time_machine.travel(NEXT + timedelta(hours=5)) as clock:
        look_over(people, rejected=500)
        for run, moment in (("first", COHORT), ("second", NEXT)):
            house.start(JOURNEY, run, logical_date=moment)
            assert house.work(JOURNEY, run, only="enroll")["enroll"] == "deferred"
        clock.shift(timedelta(hours=3))  # long after the time that days wait for each other at most
        look_over(people, rejected=0, at=NEXT + timedelta(hours=8))
        assert house.work(JOURNEY, "second", only="enroll")["enroll"] == "deferred", "the earlier day first"
        assert house.work(JOURNEY, "first", only="enroll")["enroll"] == "success"
        assert house.work(JOURNEY, "second", only="enroll")["enroll"] == "success"
    assert [day for (day,) in people.rows("select cohort_at from cohorts order by cohort_id")] == [COHORT, NEXT]


def test_the_trigger_looks_again_until_it_is_over_even_past_a_restart_of_the_database(house, people, monkeypatch):
    from airflow.sdk._shared.module_loading import import_string
    from airflow.sdk.serde import deserialize, serialize
    from sqlalchemy.exc import OperationalError

    from retention.orchestration import cohort
    from retention.orchestration.triggers import FitDataTrigger

    path, values = FitDataTrigger().serialize()
    trigger = import_string(path)(**deserialize(serialize(values)))
    answers = [OperationalError("select", {}, Exception("gone")), "held", "held", None]
    asked = []

    def find_data_hold(engine):
        asked.append(answers.pop(0))
        if isinstance(asked[-1], Exception):
            raise asked[-1]
        return asked[-1]

    monkeypatch.setattr(cohort, "find_data_hold", find_data_hold)
    assert asyncio.run(asyncio.wait_for(anext(trigger.run()), 5)).payload is None
    assert len(asked) == 4 and not answers
