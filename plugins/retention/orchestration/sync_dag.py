"""The DAG crm_sync: what include/sync.yaml names, read one source after the other, each with an Asset as outlet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import (
    DAG,
    Asset,
    BaseHook,
    BaseOperator,
    CronTriggerTimetable,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    TriggerRule,
)
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException, AirflowSkipException

from retention.errors import ConfigError, IntakeError, Problem, SourceDown
from retention.intake import quality_policy
from retention.intake.sync_plan import LAST_TASK, SourcePlan, Sync, find_source, read_sync

log = logging.getLogger(__name__)

DAG_ID = "crm_sync"
LOGGED_ROWS = 500_000

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(SourceDown, RetryAction.RETRY, reason="the source does not answer"),
        RetryRule([ConfigError, IntakeError], RetryAction.FAIL, reason="a person has to act"),
    ]
)

WORDS = """\
Reads from other databases what `include/sync.yaml` names, through Airflow's Connections, and makes facts of it by the
mappings in `include/mappings`. One task a source, in this order; one that fails does not keep the others from running,
but the run ends red.

| task | Connection | reads |
| --- | --- | --- |
{rows}

Clearing or repeating a task is always safe: rows that are there already change nothing, and a load that failed left
nothing. **Trigger** with *from scratch* to read everything again: after a change of a query or a mapping, or for rows
that came in later than the overlap. `retention loads` lists what came of each.
"""


def build_dag(include: Path) -> DAG | None:
    """The DAG of the sources below `include/`, None without any. A source that is wrong keeps its task: it fails and says
    why. Never raises: an error here would stale the DAG and freeze its runs; `find_problems` is what tells people."""
    try:
        sync = read_sync(include)
        return _build(sync, include) if sync.names else None
    except Exception:
        log.exception("include/sync.yaml could not be read")
        return None


def find_problems(include: Path) -> list[Problem]:
    """Everything that is wrong with include/sync.yaml, the mappings and the limits of quality; a mistake of ours, too."""
    return _find_sync_problems(include) + quality_policy.find_problems(include)


def _find_sync_problems(include: Path) -> list[Problem]:
    sync = read_sync(include)
    try:
        if sync.names:
            _build(sync, include)
    except Exception as error:
        log.exception("no DAG could be built of include/sync.yaml")
        what = f"no DAG can be built of this file ({type(error).__name__})."
        remedy = "That is a mistake of ours: see the dag-processor's log."
        return [*sync.problems, Problem("include/sync.yaml", 1, what, remedy)]
    return sync.problems


def _build(sync: Sync, include: Path) -> DAG:
    zone = ZoneInfo(sync.timezone)
    dag = DAG(
        DAG_ID,
        description="Facts from other databases (include/sync.yaml)",
        doc_md=WORDS.format(rows="\n".join(_describe(name, sync.plans.get(name)) for name in sync.names)),
        schedule=CronTriggerTimetable(sync.schedule, timezone=sync.timezone) if sync.schedule else None,
        start_date=datetime(2026, 1, 1, tzinfo=zone),
        catchup=False,
        max_active_runs=1,
        tags=["retention", "facts", *(["broken"] if set(sync.names) - set(sync.plans) else [])],
        params={
            "from_scratch": Param(
                False,
                type="boolean",
                title="From scratch",
                description="Forget how far the sources were read, and read everything again.",
            ),
            "only": Param(
                None,
                type=["null", "string"],
                enum=[None, *sync.names],
                values_display={"null": "all sources"},
                title="Only",
                description="One source alone; the others are skipped.",
            ),
        },
        auto_register=False,
        default_args={
            "owner": "retention",
            # Ten minutes in all: the sources behind it wait so long for one that is down.
            "retries": 3,
            "retry_delay": timedelta(minutes=1),
            "retry_exponential_backoff": 2,
            "max_retry_delay": timedelta(minutes=5),
            "retry_policy": RETRY_POLICY,
        },
    )
    with dag:
        # A leaf that hangs on all of them: the run is red if any of them is.
        last = EmptyOperator(task_id=LAST_TASK, trigger_rule=TriggerRule.NONE_FAILED)
        before = None
        for name in sync.names:
            task = SyncOperator(
                task_id=name,
                mapping=name,
                include=str(include),
                outlets=_name_assets(name, sync),
                trigger_rule=TriggerRule.ALL_DONE,
            )
            task >> last
            if before is not None:
                before >> task
            before = task
    return dag


def _describe(name: str, plan: SourcePlan | None) -> str:
    if plan is None:
        return f"| `{name}` | | is wrong: see the import errors |"
    reads = f"what is new by `{plan.watermark}`" if plan.watermark else "everything"
    gone = ", and what is gone" if plan.is_complete or plan.compare_keys else ""
    return f"| `{name}` | `{plan.connection}` | {reads}{gone} |"


def _name_assets(name: str, sync: Sync) -> list[Asset]:
    mapping = sync.mappings.get(name)
    return [Asset(name=f"retention_{name}", uri=f"retention://facts/{quote(mapping.source)}/{name}")] if mapping else []


class SyncOperator(BaseOperator):
    """Brings in what one source has that is new; XCom, and extra of the asset's event: the counts."""

    def __init__(self, *, mapping: str, include: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.mapping, self.include = mapping, include

    def execute(self, context: Any) -> dict:
        from retention.intake.quality_policy import load_policy
        from retention.intake.sync import synchronise
        from retention.orchestration.cohort import read_clock
        from retention.store.database import connect

        params, actor = context["params"], f"Airflow run {context['dag_run'].run_id}"
        if params["only"] not in (None, self.mapping):
            raise AirflowSkipException(f"only {params['only']} is asked for")
        mapping, plan = find_source(Path(self.include), self.mapping)
        hook = find_hook(plan)
        loaded = synchronise(
            connect(), mapping, plan, hook.get_conn, hook.placeholder,
            actor=actor, clock=read_clock, on_progress=_log_progress(), is_from_scratch=params["from_scratch"],
            policy=load_policy(Path(self.include)),
        )  # fmt: skip
        for asset in self.outlets:
            context["outlet_events"][asset].extra = _count(loaded)
        return _count(loaded)


def find_hook(plan: SourcePlan) -> Any:
    """The hook of the plan's Connection. Raises ConfigError if there is no such Connection, or it is of no database."""
    named = f'Connection "{plan.connection}"'
    try:
        hook = BaseHook.get_connection(plan.connection).get_hook()
    except AirflowNotFoundException:
        remedy = f"Make it: Admin → Connections, or AIRFLOW_CONN_{plan.connection.upper()}."
        raise _refuse(plan, f"there is no {named}.", remedy) from None
    except (AirflowException, ImportError) as error:
        remedy = "Correct its type, or install the provider package of its database."
        raise _refuse(plan, f"{named} has no hook ({type(error).__name__}).", remedy) from None
    if not hasattr(hook, "get_conn") or not hasattr(hook, "placeholder"):
        raise _refuse(plan, f"{named} is no database with SQL ({type(hook).__name__}).", "Correct its type.")
    return hook


def _refuse(plan: SourcePlan, what: str, remedy: str) -> ConfigError:
    path, _, line = plan.where.rpartition(":")
    return ConfigError([Problem(path, int(line), f"{plan.mapping}: {what}", remedy)])


def _count(loaded: Any) -> dict:
    tables = {table: {word: n for word, n in vars(it).items() if n} for table, it in loaded.tables.items()}
    named = ("import_id", "rows_read", "rows_rejected", "cells_left_out")
    return {**{name: getattr(loaded, name) for name in named}, "tables": tables}


def _log_progress() -> Callable[[Any], None]:
    """A line for every stage, and for every half million rows."""
    last = None

    def on_progress(progress: Any) -> None:
        nonlocal last
        now = (progress.stage, progress.rows // LOGGED_ROWS)
        if now != last:
            log.info("%s (%s rows)", progress.stage, f"{progress.rows:,}")
        last = now

    return on_progress
