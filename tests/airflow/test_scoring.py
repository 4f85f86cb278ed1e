"""The DAG scoring in a real Airflow, and journeys that wait for scores."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest
import time_machine

from retention.orchestration.scoring import STEPS
from tests.world import World, shanghai

JOURNEY = "birthday_care"
DAY = timedelta(days=1)
SCORED = shanghai("2026-12-07 05:15")
COHORT = shanghai("2026-12-07 06:00")


@pytest.fixture
def works(house, engine, monkeypatch):
    """A journey for those who fall into churn_warning, a few buyers; triggers that look again at once."""
    from retention.orchestration import triggers

    monkeypatch.setattr(triggers, "DATA_LOOK_AGAIN_S", 0.01)
    house.change(JOURNEY, audience="became_churn_warning", holdout="0%")
    world = World(engine)
    for n in range(5):
        world.customer(f"c{n}")
        world.order(f"o{n}", f"c{n}", SCORED - (10 + n) * DAY)
    house.parse()
    return house, world


def score(house, run_id: str, at, **conf) -> dict:
    house.start("scoring", run_id, logical_date=at, **conf)
    return house.work("scoring", run_id)


def notes(world: World) -> list[tuple]:
    return world.rows("select journey, detail->>'as_of', cohort_id from audit_log where action = 'old_scores'")


def test_a_run_scores_everything_once(works, caplog):
    house, world = works
    assert not house.import_errors
    assert [asset.name for asset in house.dags["scoring"].task_dict["all_scored"].outlets] == ["retention_scores"]
    with time_machine.travel(SCORED + timedelta(minutes=3)), caplog.at_level(logging.INFO):
        states = score(house, "r1", SCORED)
        assert set(states.values()) == {"success"} and {step.name for step in STEPS} <= set(states)
        assert house.xcom("scoring", "r1", "tiers")["touched"] == 5
        assert "of everybody: 5 of 5 customers summed up, 5 moved" in caplog.text
        before = [world.count(name) for name in ("score_runs", "standing_runs", "preference_runs", "tiers", "churn")]
        house.clear("scoring", "r1", *[step.name for step in STEPS])
        assert set(house.work("scoring", "r1").values()) == {"success"}
        assert "done this month already" in caplog.text
        after = [world.count(name) for name in ("score_runs", "standing_runs", "preference_runs", "tiers", "churn")]
        assert before == after
    assert world.rows("select as_of from score_runs") == [(SCORED,)]


def test_what_stands_later_is_left_as_it_is(works):
    house, world = works
    with time_machine.travel(SCORED + DAY):
        score(house, "new", SCORED)
        assert set(score(house, "old", SCORED - DAY).values()) == {"success"}
        assert "left as it is" in house.xcom("scoring", "old", "tiers")["did"]
        assert set(score(house, "by_hand", None, as_of="2026-12-07T12:00", rebuild=True).values()) == {"success"}
    assert world.rows("select as_of, is_rebuild from score_runs order by 1")[1] == (shanghai("2026-12-07 12:00"), True)


def test_enroll_waits_for_the_scores_of_its_day(works, caplog):
    house, world = works
    with time_machine.travel(COHORT - DAY):
        score(house, "r0", SCORED - DAY)
    with time_machine.travel(COHORT + timedelta(minutes=1)) as clock, caplog.at_level(logging.WARNING):
        house.start(JOURNEY, "j", logical_date=COHORT)
        assert house.work(JOURNEY, "j", only="enroll")["enroll"] == "deferred"
        assert "those of 2026-12-07T05:15+08:00 are due" in caplog.text and world.count("cohorts") == 0
        clock.shift(timedelta(hours=1))
        score(house, "r1", SCORED)
        assert house.work(JOURNEY, "j", only="enroll")["enroll"] == "success"
    assert notes(world) == []


def test_after_the_time_it_goes_on_with_the_last_ones_and_says_so(works, caplog):
    house, world = works
    with time_machine.travel(COHORT - 2 * DAY):
        score(house, "r0", SCORED - 2 * DAY)
    with time_machine.travel(COHORT + timedelta(minutes=1)) as clock, caplog.at_level(logging.INFO):
        house.start(JOURNEY, "j", logical_date=COHORT)
        assert house.work(JOURNEY, "j", only="enroll")["enroll"] == "deferred"
        clock.shift(timedelta(minutes=110))
        assert house.work(JOURNEY, "j", only="enroll")["enroll"] == "deferred", "two hours"
        clock.shift(timedelta(minutes=11))
        assert house.work(JOURNEY, "j", only="enroll")["enroll"] == "success"
    assert "this cohort goes by what there is" in caplog.text
    assert [(journey, cohort_id is not None) for journey, _, cohort_id in notes(world)] == [(JOURNEY, True)]


@pytest.mark.parametrize(("age", "state"), [(3 * DAY - timedelta(minutes=45), "success"), (4 * DAY, "failed")])
def test_too_old_ones_are_refused_with_a_remedy(works, capsys, age, state):
    house, world = works
    with time_machine.travel(COHORT):
        score(house, "r0", SCORED - age)
    with time_machine.travel(COHORT + timedelta(minutes=1)) as clock:
        house.start(JOURNEY, "j", logical_date=COHORT)
        assert house.work(JOURNEY, "j", only="enroll")["enroll"] == "deferred"
        clock.shift(timedelta(hours=2, minutes=1))
        assert house.work(JOURNEY, "j", only="enroll")["enroll"] == state
    if state == "failed":
        said = capsys.readouterr().out
        assert "they stand at 2026-12-03T05:15+08:00; those of 2026-12-07T05:15+08:00 are due" in said
        assert "more than 3d is too old" in said and "`retention score --date 2026-12-07T06:00+08:00`" in said
        assert world.count("cohorts") == 0


def test_nobody_waits_for_what_cannot_come_or_is_not_read(works, capsys):
    house, world = works
    with time_machine.travel(COHORT + timedelta(hours=3)):
        score(house, "late", COHORT + timedelta(hours=2))
        house.start(JOURNEY, "j", logical_date=COHORT)
        assert house.work(JOURNEY, "j", only="enroll")["enroll"] == "failed"
        assert "Later ones stand" in capsys.readouterr().out
        house.change(JOURNEY, audience="birthday_in_3_days")
        house.parse()
        house.start(JOURNEY, "k", logical_date=COHORT - DAY)
        assert house.work(JOURNEY, "k", only="enroll")["enroll"] == "success"


def test_the_trigger_looks_again_until_they_are_there_or_time_is_up(works, monkeypatch):
    from airflow.sdk._shared.module_loading import import_string
    from airflow.sdk.serde import deserialize, serialize
    from sqlalchemy.exc import OperationalError

    from retention.orchestration import cohort
    from retention.orchestration.triggers import FreshScoresTrigger

    answers = [OperationalError("select", {}, Exception("gone")), False, True]

    def are_scores_there(engine, scores, cohort_at, due_at):
        assert (list(scores), cohort_at, due_at) == (["tiers"], COHORT, SCORED)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(cohort, "are_scores_there", are_scores_there)
    with time_machine.travel(COHORT):
        for until in (COHORT + timedelta(hours=2), COHORT - timedelta(seconds=1)):
            path, values = FreshScoresTrigger(["tiers"], COHORT, SCORED, until).serialize()
            trigger = import_string(path)(**deserialize(serialize(values)))
            assert asyncio.run(asyncio.wait_for(anext(trigger.run()), 5)).payload is None
            assert not answers
