"""Makes Airflow DAGs of plans. The only place where their shape is put into Airflow's words."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from airflow.sdk import DAG, ExceptionRetryPolicy, Param, RetryAction, RetryRule, TaskGroup, TriggerRule
from airflow.sdk.definitions.mappedoperator import MappedOperator

from retention.errors import (
    AccountRefused,
    AudienceError,
    BooksOpen,
    CohortHeld,
    ConfigError,
    Problem,
    RetryLater,
    ScoresOld,
)
from retention.orchestration.bundles import keeps_runs_on_their_commit
from retention.orchestration.dagplan import DagPlan, StepPlan, plan_dag, pool_of
from retention.orchestration.desk import lay_out, report_bug
from retention.orchestration.operators import (
    DeliverOperator,
    EnrollOperator,
    PlanOperator,
    SettleOperator,
    WaitOperator,
)
from retention.orchestration.past_days import LIVE
from retention.orchestration.timetable import JourneyTimetable

log = logging.getLogger(__name__)

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            [ConfigError, CohortHeld, AudienceError, BooksOpen, AccountRefused, ScoresOld],
            RetryAction.FAIL,
            reason="a person has to act",
        ),
        RetryRule(RetryLater, RetryAction.RETRY, timedelta(minutes=1), reason="the provider was busy"),
    ]
)

PARAMS = {
    "cohort_at": Param(
        None,
        type=["null", "string"],
        pattern=r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?$",
        title="Cohort's moment",
        description="Empty: the logical date. Or 2026-12-01T06:00, in the journey's time zone. An existing cohort is joined.",
    ),
    "mode": Param(
        None,
        type=["null", "string"],
        enum=[None, "test", LIVE],
        values_display={"null": "as the journey says; for past dates test", "test": "test", LIVE: LIVE},
        title="Mode",
        description="test: to the outbox only, never counted. A backfill, or a run for a past moment, is a test unless this "
        f'says "{LIVE}". A cohort that is there keeps its mode; nothing expired is sent.',
    ),
    "on_time": Param(
        False,
        type="boolean",
        title="Pretend to be on time",
        description="Tests only: every step runs at once, as if at its due moment. Without it a step of the past is recorded as expired.",
    ),
    "approve_size": Param(
        False, type="boolean", title="Approve its size", description="Lets in a cohort far above the usual size."
    ),
}


def build_dags(include: Path) -> dict[str, DAG]:
    """The DAGs of all journeys below `include/`, by id. Never raises: an error here would stale every DAG of the file."""
    try:
        return _build_all(include)[0]
    except Exception:
        log.exception("journeys could not be read")
        return {}


def find_problems(include: Path) -> list[Problem]:
    """Everything that is wrong with the journeys below `include/`, those included of which no DAG can be built."""
    return _build_all(include)[1]


def _build_all(include: Path) -> tuple[dict[str, DAG], list[Problem]]:
    sheets, problems = lay_out(include, may_drop_steps=keeps_runs_on_their_commit(include))
    dags = {}
    for name, sheet in sheets.items():
        try:
            dags[name] = build_dag(plan_dag(sheet.version, sheet.problems, sheet.in_flight), include)
        except Exception as error:
            log.exception("no DAG could be built of journey %s", name)
            problems.append(report_bug(name, error))
    return dags, problems


def build_dag(plan: DagPlan, include: Path) -> DAG:
    """One journey's DAG: enroll → per step (wait → plan → deliver) → settle. A step that fails holds up no other."""
    zone = ZoneInfo(plan.timezone)
    dag = DAG(
        plan.dag_id,
        dag_display_name=f"{plan.title} ({plan.dag_id})",
        description=plan.title,
        doc_md=plan.words,
        schedule=JourneyTimetable(plan.schedule, timezone=plan.timezone, look_back=plan.look_back),
        start_date=datetime.combine(plan.starts_on, datetime.min.time(), tzinfo=zone),
        catchup=True,
        max_active_runs=plan.max_active_runs,
        tags=list(plan.tags),
        params=PARAMS,
        # Only what journeys.py puts into its module counts; journeys_check.py builds them, too, and has none.
        auto_register=False,
        default_args={
            "owner": plan.owner,
            "retries": 3,
            "retry_delay": timedelta(seconds=30),
            "retry_exponential_backoff": 2,
            "max_retry_delay": timedelta(minutes=10),
            "retry_policy": RETRY_POLICY,
        },
    )
    with dag:
        enroll = EnrollOperator(task_id="enroll", journey=plan.dag_id, include=str(include))
        settle = SettleOperator(task_id="settle", trigger_rule=TriggerRule.ALL_DONE, retries=0)
        for step in plan.steps:
            _add_step(step, include, enroll, settle)
    return dag


def _add_step(step: StepPlan, include: Path, enroll: EnrollOperator, settle: SettleOperator) -> None:
    with TaskGroup(step.step_id, tooltip=step.tooltip):
        delivers = _add_round(step, include, enroll, settle)
        if step.fallback_s:
            with TaskGroup("fallback", tooltip="What bounced is sent on the next channel."):
                _add_round(step, include, enroll, settle, after=delivers)


def _add_round(
    step: StepPlan,
    include: Path,
    enroll: EnrollOperator,
    settle: SettleOperator,
    after: Sequence[MappedOperator] | None = None,
) -> list[MappedOperator]:
    """Wait, plan, deliver: the step itself, or, `after` its deliveries, its fallback."""
    is_fallback = after is not None
    wait = WaitOperator(
        task_id="wait",
        step=step.step_id,
        after_s=step.fallback_s if is_fallback else 0.0,
        # A channel that failed does not keep the others' bounces from being made good.
        trigger_rule=TriggerRule.ALL_DONE if is_fallback else TriggerRule.ALL_SUCCESS,
    )
    plan = PlanOperator(task_id="plan", step=step.step_id, include=str(include), is_fallback=is_fallback)
    (after if is_fallback else enroll) >> wait >> plan >> settle
    delivers = []
    for channel in step.channels:
        deliver = DeliverOperator.partial(
            task_id=f"deliver_{channel}",
            step=step.step_id,
            channel=channel,
            include=str(include),
            pool=pool_of(channel),
            map_index_template="{{ shard_name }}",
        ).expand(shard=plan.output)
        deliver >> settle
        delivers.append(deliver)
    return delivers
