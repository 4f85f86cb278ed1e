"""The DAG maintenance: every night, opens months ahead and lets go of what was kept long enough."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, BaseOperator, CronTriggerTimetable

log = logging.getLogger(__name__)

DAG_ID = "maintenance"

WORDS = """\
Keeps records no longer than `keep` in `include/policy.yaml` says: raw events, replies, the outbox, rejected rows and their files, claimed
contacts; months of messages and what came of them are counted and dropped whole. Opens the parts of the months to come.

Safe to run at any time and any number of times. `retention maintain --dry-run` says what would go. docs/privacy.md
"""


def build_dag() -> DAG | None:
    """The DAG. Never raises: an error here would be an import error of its file."""
    try:
        return _build()
    except Exception:
        log.exception("no DAG could be built for the maintenance")
        return None


def _build() -> DAG:
    dag = DAG(
        DAG_ID,
        description="Lets go of what was kept long enough",
        doc_md=WORDS,
        schedule=CronTriggerTimetable("20 3 * * *", timezone="Asia/Shanghai"),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        tags=["retention"],
        auto_register=False,
        default_args={"owner": "retention", "retries": 2, "retry_delay": timedelta(minutes=5)},
    )
    with dag:
        MaintainOperator(task_id="maintain")
    return dag


class MaintainOperator(BaseOperator):
    """Lets go of what was kept long enough; XCom: months, rows by table, files as counts."""

    def execute(self, context: Any) -> dict:
        from retention.orchestration.cohort import read_clock, read_rules
        from retention.orchestration.upkeep import maintain
        from retention.store.database import connect, home

        done = maintain(
            connect(), read_rules().retention, now=read_clock(), home=home(), actor="maintenance", on_progress=log.info
        )
        for line in done.lines():
            log.warning(line) if line in done.waiting else log.info(line)
        return {"months": len(done.months), "rows": done.rows, "files": done.files}
