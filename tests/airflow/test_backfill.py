"""Runs for days gone by: a test unless said otherwise in so many words, and nothing expired is sent."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine

from tests.airflow.test_delivery import may_go_live
from tests.world import World, shanghai

JOURNEY = "birthday_care"
COHORT = shanghai("2026-12-07 06:00")
LATER = COHORT + timedelta(days=30)
LIVE = {"mode": "live, for past dates too"}


@pytest.fixture
def people(house, engine):
    """A live journey; ten customers whose birthday was three days after the cohort."""
    house.change(JOURNEY, holdout="0%", live="true")
    may_go_live(house.include)
    world = World(engine)
    for n in range(10):
        world.customer(f"c{n}", "12-10")
    return world


def backfill(house, first, last, reprocess="none", **conf) -> list[str]:
    """What Airflow's own backfill does, by the form or `airflow backfill create`; the ids of its runs, begun."""
    from airflow.models.backfill import Backfill, ReprocessBehavior, _create_backfill
    from airflow.models.dagrun import DagRun
    from airflow.sdk.timezone import coerce_datetime
    from airflow.utils.session import create_session
    from sqlalchemy import select

    made = _create_backfill(
        dag_id=JOURNEY,
        from_date=coerce_datetime(first),
        to_date=coerce_datetime(last),
        max_active_runs=10,
        reverse=False,
        dag_run_conf=conf,
        triggering_user_name="ops",
        reprocess_behavior=ReprocessBehavior(reprocess),
    )
    with create_session() as session:
        runs = session.scalars(select(DagRun).where(DagRun.backfill_id == made.id).order_by(DagRun.logical_date)).all()
        for run in runs:
            run.state = "running"
        session.get(Backfill, made.id).completed_at = made.created_at  # one at a time, and there is no scheduler
        return [run.run_id for run in runs]


def cohorts(world) -> list[tuple]:
    return world.rows("select mode, cohort_at, candidates from cohorts order by cohort_at, mode")


def decided(world) -> set[tuple]:
    return set(world.rows("select distinct step, decision, reason from messages"))


def test_a_backfill_is_a_test_and_what_has_expired_is_recorded(house, people):
    house.parse()
    with time_machine.travel(LATER):
        runs = backfill(house, COHORT, COHORT + timedelta(days=2))
        assert len(runs) == 3, "the days asked for, though the journey is shorter than they are ago"
        for run in runs:
            assert house.work(JOURNEY, run)["run"] == "success"
    assert [(mode, at) for mode, at, _ in cohorts(people)] == [("test", COHORT + timedelta(days=n)) for n in range(3)]
    assert people.count("enrollments") == 10 and people.count("outbox") == 0
    assert ("greeting", "skip", "expired") in decided(people)
    assert {decision for _, decision, _ in decided(people)} == {"skip"}


def test_in_so_many_words_it_is_live_and_still_sends_nothing_expired(house, people):
    house.parse()
    with time_machine.travel(LATER):
        (run,) = backfill(house, COHORT, COHORT, **LIVE)
        assert house.work(JOURNEY, run)["run"] == "success"
    assert [mode for mode, *_ in cohorts(people)] == ["live"]
    assert {decision for _, decision, _ in decided(people)} == {"skip"} and people.count("batches", state="ready") == 0


def test_pretending_to_be_on_time_it_shows_in_the_outbox_what_would_have_gone_out(house, people):
    house.parse()
    with time_machine.travel(LATER):
        (run,) = backfill(house, COHORT, COHORT, on_time=True)
        while house.work(JOURNEY, run)["run"] == "running":
            pass  # each step waits for the one before
    assert [mode for mode, *_ in cohorts(people)] == ["test"]
    assert people.rows("select count(*) from outbox join messages m using (message_id) where step = 'greeting'") == [
        (10,)
    ]


def test_nobody_is_live_and_pretends_to_be_on_time(house, people):
    house.parse()
    with time_machine.travel(LATER):
        (run,) = backfill(house, COHORT, COHORT, on_time=True, **LIVE)
        assert house.work(JOURNEY, run, only="enroll")["enroll"] == "failed"
    assert people.count("cohorts") == 0


@pytest.mark.parametrize("conf", [{"mode": "test"}])
def test_a_date_whose_cohort_is_there_is_joined_in_its_mode_and_nothing_is_done_twice(house, people, conf):
    house.parse()
    with time_machine.travel(COHORT):
        house.start(JOURNEY, "scheduled", COHORT, run_type="scheduled")
        house.work(JOURNEY, "scheduled", only="enroll")
    assert [mode for mode, *_ in cohorts(people)] == ["live"]
    with time_machine.travel(LATER):
        house.work(JOURNEY, "scheduled")
        before = people.rows("select message_id, decision, reason from messages order by 1")
        assert backfill(house, COHORT, COHORT, **conf) == [], "Airflow leaves a date that has a run alone"
        (run,) = backfill(house, COHORT, COHORT, "completed", **conf)
        assert run == "scheduled" and house.work(JOURNEY, run)["run"] == "success"
        assert house.xcom(JOURNEY, run, "enroll")["is_joined"]
    assert [mode for mode, *_ in cohorts(people)] == ["live"]
    assert people.rows("select message_id, decision, reason from messages order by 1") == before


@pytest.mark.parametrize(
    ("run_type", "hours", "mode"),
    [("manual", 25, "test"), ("scheduled", 24 * 9, "live")],
)
def test_by_hand_a_day_is_past_once_the_next_cohort_was_due_and_what_is_made_up_is_live(
    house, people, run_type, hours, mode
):
    house.parse()
    with time_machine.travel(COHORT + timedelta(hours=hours)):
        house.start(JOURNEY, "r1", COHORT, run_type=run_type)
        house.work(JOURNEY, "r1", only="enroll")
    assert [mode for mode, *_ in cohorts(people)] == [mode]
