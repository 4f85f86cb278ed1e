"""A journey in Airflow, task by task: in time, again and again, held, stopped, failing."""

from __future__ import annotations

from copy import deepcopy as copy
from datetime import timedelta

import pytest
import time_machine

from tests.world import World, shanghai

JOURNEY = "birthday_care"
COHORT = shanghai("2026-12-07 06:00")
ON_TIME = {"cohort_at": COHORT.isoformat(), "mode": "test", "on_time": True}


@pytest.fixture
def people(house, engine):
    """Twenty customers whose birthday is in three days, nobody in the holdout."""
    house.change(JOURNEY, holdout="0%")
    world = World(engine)
    for n in range(20):
        world.customer(f"c{n}", "12-10")
    return world


def all_green(states: dict[str, str]) -> bool:
    return set(states.values()) == {"success"}


def outbox(world: World) -> list[tuple]:
    return world.rows("select message_id, channel, address, subject, text from outbox order by message_id")


def test_a_cohort_goes_through_all_its_steps(house, people):
    house.parse()
    house.start(JOURNEY, "r1", **ON_TIME)
    states = house.work(JOURNEY, "r1")
    assert all_green(states), states
    assert {"enroll", "greeting.wait", "greeting.plan", "greeting.deliver_sms[0]", "settle", "run"} <= set(states)
    sent = people.rows("select m.step, count(*) from outbox join messages m using (message_id) group by 1 order by 1")
    assert sent == [("greeting", 20), ("last_day", 20)]
    assert people.rows("select status, mode from cohorts") == [("settled", "test")]
    assert people.rows("select journey, run_id from cohort_runs") == [(JOURNEY, "r1")]


def test_what_tasks_hand_on_are_counts_and_ids(house, people):
    house.parse()
    house.start(JOURNEY, "r1", **ON_TIME)
    house.work(JOURNEY, "r1")
    entered = house.xcom(JOURNEY, "r1", "enroll")
    assert (entered["enrolled"], entered["holdout"], entered["is_joined"]) == (20, 0, False)
    shards = house.xcom(JOURNEY, "r1", "greeting.plan")
    assert shards == [{"wave": 0, "shard": 0, "of": 1}]
    handed_on = str(entered) + str(shards)
    for customer_id, email in people.rows("select customer_id, email from customers"):
        assert f"'{customer_id}'" not in handed_on and email not in handed_on


def test_clearing_any_task_any_number_of_times_sends_nothing_again(house, people):
    house.parse()
    house.start(JOURNEY, "r1", **ON_TIME)
    house.work(JOURNEY, "r1")
    before, decided = outbox(people), people.count("messages")
    clearings = [
        ["greeting.plan"],
        ["greeting.deliver_sms", "greeting.deliver_email"],
        ["greeting.plan", "greeting.deliver_sms", "greeting.deliver_email", "settle"],
        [("greeting.deliver_sms", 0)],
        ["enroll", "greeting.wait", "last_day.plan", "last_day.deliver_sms", "settle"],
        ["greeting.plan"],
    ]
    for tasks in clearings:
        house.clear(JOURNEY, "r1", *tasks)
        states = house.work(JOURNEY, "r1")
        assert all_green(states), (tasks, states)
        assert (outbox(people), people.count("messages")) == (before, decided), tasks


def test_a_second_run_of_the_same_moment_joins_the_cohort(house, people):
    house.parse()
    house.start(JOURNEY, "r1", **ON_TIME)
    house.work(JOURNEY, "r1")
    before = outbox(people)
    house.start(JOURNEY, "r2", **ON_TIME)
    assert all_green(house.work(JOURNEY, "r2"))
    assert house.xcom(JOURNEY, "r2", "enroll")["is_joined"]
    assert outbox(people) == before
    assert people.count("cohorts") == 1
    assert {run for (run,) in people.rows("select run_id from cohort_runs")} == {"r1", "r2"}


def test_two_runs_of_the_same_moment_side_by_side(house, people):
    house.parse()
    for run in ("r1", "r2"):
        house.start(JOURNEY, run, **ON_TIME)
        house.work(JOURNEY, run, only="enroll")
    for run in ("r2", "r1"):
        house.work(JOURNEY, run, only="greeting")
    for run in ("r1", "r2"):
        assert all_green(house.work(JOURNEY, run))
    assert people.count("outbox") == 40 and people.count("cohorts") == 1


def test_steps_wait_for_their_moment_and_go_on_when_it_comes(house, people):
    house.parse()
    with time_machine.travel(COHORT + timedelta(minutes=1)) as clock:
        house.start(JOURNEY, "r1", logical_date=COHORT)
        states = house.work(JOURNEY, "r1")
        assert states["enroll"] == "success" and states["run"] == "running"
        assert states["greeting.wait"] == states["last_day.wait"] == "deferred"
        assert people.rows("select cohort_at from cohorts") == [(COHORT,)], "its own moment where no other is named"
        clock.move_to(shanghai("2026-12-07 10:00"))
        states = house.work(JOURNEY, "r1")
        assert states["greeting.deliver_sms[0]"] == "success" and states["last_day.wait"] == "deferred"
        assert states["settle"] == "None" and people.count("outbox") == 20
        clock.move_to(shanghai("2026-12-13 10:00"))
        assert all_green(house.work(JOURNEY, "r1"))
    assert people.count("outbox") == 40


def test_three_days_late_what_is_within_its_time_goes_out_and_the_rest_has_expired(house, people):
    house.parse()
    with time_machine.travel(COHORT) as clock:
        house.start(JOURNEY, "r1", logical_date=COHORT)
        house.work(JOURNEY, "r1", only="enroll")
        clock.move_to(shanghai("2026-12-13 11:00"))
        assert all_green(house.work(JOURNEY, "r1"))
    assert people.rows("select step, decision, reason, count(*) from messages group by 1, 2, 3 order by 1") == [
        ("greeting", "skip", "expired", 20),
        ("last_day", "skip", "not_needed", 20),  # nobody has a coupon to be reminded of
    ]


def test_a_moment_without_a_zone_is_the_journey_s_and_a_run_without_a_date_takes_when_it_was_due(house, people):
    house.parse()
    house.start(JOURNEY, "r1", cohort_at="2026-12-07T06:00", mode="test", on_time=True)
    house.work(JOURNEY, "r1", only="enroll")
    assert people.rows("select cohort_at from cohorts") == [(COHORT,)]
    with time_machine.travel(COHORT, tick=False):
        house.start(JOURNEY, "asset_triggered")  # those have no logical date, and run_after is now
        house.work(JOURNEY, "asset_triggered", only="enroll")
    assert house.xcom(JOURNEY, "asset_triggered", "enroll")["is_joined"]


def test_a_held_cohort_fails_at_once_and_enters_when_it_is_approved(house, people):
    house.change(JOURNEY, entry="{window: 3d, backlog: skip, reenter_after: 300d, hold_above: 5}")
    house.parse()
    house.start(JOURNEY, "r1", **ON_TIME)
    states = house.work(JOURNEY, "r1")
    assert (states["enroll"], states["greeting.wait"], states["settle"]) == ("failed", "upstream_failed", "failed")
    assert states["run"] == "failed" and people.count("enrollments") == 0
    house.start(JOURNEY, "r2", **ON_TIME, approve_size=True)
    assert all_green(house.work(JOURNEY, "r2"))
    house.clear(JOURNEY, "r1", "enroll", "greeting.wait", "greeting.plan", "settle", "last_day.wait", "last_day.plan")
    assert house.work(JOURNEY, "r1")["enroll"] == "success"
    assert people.count("outbox") == 40


def test_stopped_in_the_file_nothing_goes_out_and_everybody_has_the_reason(house, people):
    house.parse()
    house.start(JOURNEY, "r1", **ON_TIME)
    house.work(JOURNEY, "r1", only="enroll")
    house.change(JOURNEY, status="stopped")
    house.parse()
    assert all_green(house.work(JOURNEY, "r1"))
    assert people.count("outbox") == 0
    assert people.rows("select distinct reason from messages") == [("stopped",)]


def test_an_unexpected_error_is_tried_again_and_does_not_hold_up_other_steps(house, people, monkeypatch):
    from retention.orchestration import cohort

    plan = cohort.plan

    def broken(engine, cohort_id, step_id, **options):
        if step_id == "greeting":
            raise RuntimeError("the disk is full")
        return plan(engine, cohort_id, step_id, **options)

    house.parse()
    with time_machine.travel(COHORT) as clock:
        house.start(JOURNEY, "r1", logical_date=COHORT)
        house.work(JOURNEY, "r1", only="enroll")
        clock.move_to(shanghai("2026-12-13 10:00"))
        monkeypatch.setattr(cohort, "plan", broken)
        for _ in range(4):
            states = house.work(JOURNEY, "r1")
            clock.shift(timedelta(minutes=11))
    assert states["greeting.plan"] == "failed" and states["last_day.deliver_sms[0]"] == "success"
    assert (states["settle"], states["run"]) == ("failed", "failed"), "a run is only as green as its books"
    monkeypatch.setattr(cohort, "plan", plan)
    house.clear(JOURNEY, "r1", "greeting.plan", "greeting.deliver_sms", "greeting.deliver_email", "settle")
    with time_machine.travel(shanghai("2026-12-13 11:00")):
        assert all_green(house.work(JOURNEY, "r1"))


def test_a_task_that_lost_its_worker_leaves_a_red_run_that_clearing_mends(house, people, monkeypatch):
    from retention.delivery.channels.outbox import OutboxProvider

    house.parse()
    house.start(JOURNEY, "r1", **ON_TIME)
    hand_over = OutboxProvider.hand_over
    killed = []

    def dies_after_handing_over(self, letters, gate, receive):
        hand_over(self, letters, gate, receive if killed else lambda receipt: None)
        if not killed:
            killed.append(len(letters))
            raise KeyboardInterrupt

    monkeypatch.setattr(OutboxProvider, "hand_over", dies_after_handing_over)
    house.work(JOURNEY, "r1", only="enroll|greeting.(wait|plan)")
    house.work(JOURNEY, "r1", only="greeting.deliver")
    assert killed == [20]
    assert people.rows("select distinct state from batches where size > 0") == [("sending",)]
    house.clear(JOURNEY, "r1", "greeting.deliver_sms", "greeting.deliver_email")
    assert all_green(house.work(JOURNEY, "r1"))
    assert people.count("outbox") == 40 and people.count("outcomes", kind="accepted") == 40


def test_a_task_has_a_button_to_its_cohort_s_numbers(house, people):
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    from retention.plugin import RetentionPlugin

    house.parse()
    house.start(JOURNEY, "r:1+", **ON_TIME)
    house.work(JOURNEY, "r:1+", only="enroll")
    with create_session() as session:
        link = session.scalars(
            XComModel.get_many(run_id="r:1+", dag_ids=JOURNEY, task_ids="enroll", key="_link_NumbersLink")
        ).one()
        path = XComModel.deserialize_value(link)
    assert path.endswith(f"/dags/{JOURNEY}/runs/r%3A1%2B/plugin/retention_numbers")
    assert "retention_numbers" in {view["url_route"] for view in RetentionPlugin.external_views}


def test_a_run_that_is_triggered_with_nonsense_is_refused(house):
    from airflow.sdk.definitions.param import ParamValidationError

    house.parse()
    params = house.dags[JOURNEY].params
    for conf in ({"mode": "live"}, {"on_time": "yes"}, {"cohort_at": 20261207}, {"cohort_at": "yesterday"}):
        with pytest.raises(ParamValidationError):
            copy(params).update(conf)
    for conf in ({"mode": "test"}, {"cohort_at": "2026-12-07T06:00"}, {"cohort_at": COHORT.isoformat(), "mode": None}):
        copy(params).update(conf)


def test_a_moment_that_is_in_no_calendar_fails_at_once(house, people):
    house.parse()
    house.start(JOURNEY, "r1", cohort_at="2026-13-45T06:00")
    assert house.work(JOURNEY, "r1", only="enroll")["enroll"] == "failed"
    assert people.count("cohorts") == 0
