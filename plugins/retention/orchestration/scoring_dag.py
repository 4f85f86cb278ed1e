"""The DAG scoring: once a day, the steps of `scoring.py` one after the other, with an Asset when all is done."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, CronTriggerTimetable, ExceptionRetryPolicy, Param, RetryAction, RetryRule

from retention.errors import ConfigError, RetentionError
from retention.journey.scores import Scores, load_scores
from retention.orchestration.operators import FactsOperator, find_moment

log = logging.getLogger(__name__)

DAG_ID = "scoring"
LAST_TASK = "all_scored"
ASSET = Asset(name="retention_scores", uri="retention://scores")

WORDS = """\
Works out what `include/scores.yaml` says, as of the run's moment: facts that came in later are not seen.

| task | brings up to date |
| --- | --- |
{rows}

Clearing or repeating a task is always safe: what was decided at this moment stays, and what stands at a later date already is
left as it is. While data are held it waits. **Trigger** with a moment for another one; *rebuild* sums up everybody anew.
`retention score` does the same by hand. Journeys whose audience reads scores wait for this run.
"""

PARAMS = {
    "as_of": Param(
        None,
        type=["null", "string"],
        pattern=r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?$",
        title="As of",
        description="Empty: the logical date. Or 2026-12-01T05:15, in the time zone of scores.yaml; later than the last run.",
    ),
    "rebuild": Param(
        False, type="boolean", title="Rebuild", description="Sums up everybody, not only those with news."
    ),
}

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule([ConfigError, RetentionError], RetryAction.FAIL, reason="a person has to act")]
)


def build_dag(include: Path) -> DAG | None:
    """The DAG. Where scores.yaml is wrong it runs as usual and its tasks say what is. Never raises."""
    try:
        return _build(include)
    except Exception:
        log.exception("no DAG could be built for scoring")
        return None


def _build(include: Path) -> DAG:
    # Heavy with numbers: not before a DAG file asks for it.
    from retention.orchestration.scoring import STEPS

    try:
        rules = load_scores(include).scoring
    except ConfigError:
        rules = Scores().scoring
    dag = DAG(
        DAG_ID,
        description="Tiers, lifetime values, churn, strata and preferences (include/scores.yaml)",
        doc_md=WORDS.format(rows="\n".join(f"| `{step.name}` | {step.about} |" for step in STEPS)),
        schedule=CronTriggerTimetable(rules.schedule, timezone=rules.timezone),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        tags=["retention", "scores"],
        params=PARAMS,
        auto_register=False,
        default_args={
            "owner": "retention",
            "retries": 3,
            "retry_delay": timedelta(minutes=1),
            "retry_policy": RETRY_POLICY,
        },
    )
    with dag:
        before = None
        for step in STEPS:
            task = ScoreOperator(task_id=step.name, include=str(include))
            if before is not None:
                before >> task
            before = task
        before >> EmptyOperator(task_id=LAST_TASK, outlets=[ASSET])
    return dag


class ScoreOperator(FactsOperator):
    """One step; XCom: what it did in words, and counts."""

    def __init__(self, *, include: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.include = include

    def work(self, context: Any) -> dict:
        from retention.orchestration.cohort import read_clock
        from retention.orchestration.scoring import score_step
        from retention.store.database import connect

        config, params = load_scores(Path(self.include)), context["params"]
        as_of = find_moment({"cohort_at": params["as_of"]}, context["dag_run"], config.scoring.zone)
        now = read_clock()
        done = score_step(
            connect(), self.task_id, min(as_of, now), now=now, config=config, is_rebuild=bool(params["rebuild"])
        )
        log.info("%s as of %s: %s", self.task_id, as_of.isoformat(timespec="seconds"), done.words)
        return {"did": done.words, **done.counts}
