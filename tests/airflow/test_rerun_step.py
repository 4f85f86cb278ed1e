"""The DAG rerun_step in a real Airflow: numbers first, an approval where somebody would get it twice, and once alone."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from airflow.providers.standard.operators.hitl import ApprovalOperator

from retention.orchestration import cohort
from retention.orchestration.rerun_dag import _make_params
from tests.delivery.test_plan import AT, deliver, plan
from tests.orchestration.test_rerun import LATER, arrived, hear
from tests.world import World, example

JOURNEY, DAG = "birthday_care", "rerun_step"
FORM = {
    "journey": JOURNEY, "step": "greeting", "first_day": "2026-12-01", "who": "everyone", "reason": "a typo", "dry_run": False,
}  # fmt: skip


@pytest.fixture
def works(house, engine):
    """A cohort of three whose greeting went out."""
    world = World(engine)
    for n in range(3):
        world.customer(f"c{n}", "12-04", consent=("email",))
    made = cohort.enroll(engine, example(holdout="0%"), AT, clock=lambda: AT).cohort_id
    plan(world, made)
    deliver(world, made)
    (house.include / "policy.yaml").write_text("markets: [CN]\ncaps: {journey: {day: 5}, all: {day: 5, week: 9}}\n")
    house.parse()
    with time_machine.travel(LATER):
        yield house, world


@pytest.fixture
def answer(monkeypatch):
    """Answers every request for an approval; what was asked is kept."""
    asked = []

    def answer(option):
        def execute(self, context):
            asked.append(self.body)
            event = {
                "chosen_options": [option], "params_input": {}, "responded_at": datetime.now(UTC),
                "responded_by_user": {"id": "bob", "name": "bob"},
            }  # fmt: skip
            return self.execute_complete(context, event)

        monkeypatch.setattr(ApprovalOperator, "execute", execute)
        return asked

    return answer


def rerun(house, run_id, **form):
    house.start(DAG, run_id, **{**FORM, **form})
    return house.work(DAG, run_id)


def test_a_dry_run_counts_and_ends(works, answer, caplog):
    house, world = works
    assert not house.import_errors
    asked = answer(ApprovalOperator.APPROVE)
    with caplog.at_level(logging.INFO):
        states = rerun(house, "look", dry_run=True)
    assert states["run"] == "success" and states["plan"] == states["approval"] == "skipped"
    assert house.xcom(DAG, "look", "numbers") == {"sends": 3, "twice": 3, "held_back": 0, "cohorts": 1, "dry_run": True}
    assert "Trigger it again with `Dry run` off" in caplog.text
    assert asked == [] and set(arrived(world).values()) == {1}
    assert world.count("audit_log", action="rerun_counted") == 1 and world.count("audit_log", action="rerun") == 0


def test_everybody_again_needs_an_approval_and_happens_once(works, answer):
    house, world = works
    asked = answer(ApprovalOperator.APPROVE)
    states = rerun(house, "again")
    assert states["run"] == "success" and states["email.deliver[0]"] == "success"
    assert "**3** people would get a message, **3** of them had it before, or may have" in asked[0]
    assert set(arrived(world).values()) == {2}
    assert house.xcom(DAG, "again", "report") == {"accepted": 3}
    [(actor, detail)] = world.rows("select actor, detail from audit_log where action = 'rerun'")
    assert detail["approved_by"] == "bob" and detail["reason"] == "a typo" and detail["twice"] == 3 and actor
    for tasks in (
        ["plan"],
        ["email.deliver"],
        ["numbers", "approval", "plan", "email.pick", "email.deliver", "report"],
    ):
        house.clear(DAG, "again", *tasks)
        assert house.work(DAG, "again")["run"] == "success"
    assert set(arrived(world).values()) == {2}, "a run that is cleared does nothing more"


def test_a_rejection_sends_nothing(works, answer):
    house, world = works
    answer(ApprovalOperator.REJECT)
    states = rerun(house, "no")
    assert states["approval"] == "success" and states["plan"] == states["email.pick"] == "skipped"
    assert states["report"] == "success" and house.xcom(DAG, "no", "report") == {}
    assert set(arrived(world).values()) == {1}
    assert world.rows("select actor, detail->>'key' from audit_log where action = 'rerun_rejected'") == [("bob", "no")]


def test_only_an_approval_is_one(works, answer, monkeypatch):
    house, world = works
    answer(ApprovalOperator.REJECT)
    rerun(house, "no")
    house.clear(DAG, "no", "plan")
    assert house.work(DAG, "no")["plan"] in ("skipped", "failed")
    monkeypatch.setattr(ApprovalOperator, "execute", lambda self, context: None)  # "Mark as success"
    assert rerun(house, "marked")["plan"] in ("failed", "up_for_retry")
    assert set(arrived(world).values()) == {1} and world.count("audit_log", action="rerun") == 0


def test_an_approval_counts_for_what_it_showed_however_often_it_is_counted(works, answer):
    house, world = works
    asked = answer(ApprovalOperator.APPROVE)
    house.start(DAG, "r", **FORM)
    house.work(DAG, "r", only="numbers|approval")
    assert "**3** people would get a message" in asked[0]
    later = AT + timedelta(hours=1)  # more of that day's people get the step while somebody thinks it over
    for n in (7, 8):
        world.customer(f"c{n}", "12-04", consent=("email",))
    made = cohort.enroll(world.engine, example(holdout="0%"), later, clock=lambda: later).cohort_id
    plan(world, made)
    deliver(world, made)
    assert house.work(DAG, "r")["plan"] == "failed"
    for tasks in (["numbers", "plan"], ["plan"], ["numbers", "approval", "plan", "report"]):
        house.clear(DAG, "r", *tasks)
        states = house.work(DAG, "r")
        assert "success" not in (states["plan"], states["run"]), tasks
    assert set(arrived(world).values()) == {1} and world.count("audit_log", action="rerun") == 0
    assert len(asked) == 1, "its question stands as it was written; a new run asks anew"
    assert rerun(house, "anew")["run"] == "success" and "**5** people" in asked[1]
    assert set(arrived(world).values()) == {2}


def test_a_misspelt_key_of_the_conf_is_no_key(works):
    house, world = works
    assert rerun(house, "r", mod="live")["numbers"] == "failed" and world.count("audit_log") == 0
    house.start(JOURNEY, "j", AT, modus="test")
    assert house.work(JOURNEY, "j", only="enroll")["enroll"] == "failed"


def test_who_it_failed_needs_no_approval(works, answer):
    house, world = works
    asked = answer(ApprovalOperator.APPROVE)
    hear(world, "c1", "bounced")
    states = rerun(house, "failed", who="failed")
    assert states["run"] == "success" and states["approval"] == "skipped" and asked == []
    assert arrived(world) == {"c0": 1, "c1": 2, "c2": 1}
    assert house.xcom(DAG, "failed", "report") == {"accepted": 1}
    assert rerun(house, "failed_2", who="failed")["run"] == "success"
    assert arrived(world) == {"c0": 1, "c1": 2, "c2": 1}, "a second run changes nothing"


def test_what_can_not_be_is_not_tried_again(works):
    house, _ = works
    states = rerun(house, "bad", first_day="2026-01-01")
    assert states["run"] == "failed" and states["numbers"] == "failed"


def test_the_form_names_every_journey_and_step(house):
    params = _make_params({JOURNEY: example()})
    assert params["journey"].schema["enum"] == [JOURNEY] and "greeting" in params["step"].schema["examples"]
    assert params["dry_run"].value is True and params["who"].value == "failed"
