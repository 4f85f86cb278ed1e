"""The DAG reconcile: every quarter of an hour, settles messages whose answer was lost and matches coupons with orders. Never
sends."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, BaseOperator, CronTriggerTimetable

log = logging.getLogger(__name__)

DAG_ID = "reconcile"

WORDS = """\
Settles messages whose answer was lost on the way - a timeout, a worker that was killed - of all cohorts: by what the
provider has reported since, and by asking it. It never sends. What neither settles stays in doubt: the log lists it by
cohort and step, and the run stays green.

Its task `redeem` holds coupons against the orders: redeemed, late, refunded, expired. It looks at what is new, and any number of
times.

`retention reconcile --close` gives up what is left, on the record. Clear `settle` of a run whose doubts are settled.
"""


def build_dag() -> DAG | None:
    """The DAG. Never raises: an error here would be an import error of its file."""
    try:
        return _build()
    except Exception:
        log.exception("no DAG could be built to reconcile")
        return None


def _build() -> DAG:
    dag = DAG(
        DAG_ID,
        description="Settles messages whose answer was lost",
        doc_md=WORDS,
        schedule=CronTriggerTimetable("*/15 * * * *", timezone="UTC"),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        tags=["retention"],
        auto_register=False,
        default_args={"owner": "retention", "retries": 1, "retry_delay": timedelta(minutes=1)},
    )
    with dag:
        ReconcileOperator(task_id="reconcile")
        RedeemOperator(task_id="redeem")
    return dag


class ReconcileOperator(BaseOperator):
    """Settles doubts of all cohorts; XCom: by_events, by_asking, left, troubles as counts."""

    def execute(self, context: Any) -> dict:
        from retention.orchestration import cohort
        from retention.orchestration.connections import find_account
        from retention.store.database import connect

        done = cohort.settle_doubts(connect(), find_account=find_account, on_progress=log.info)
        for it in done.left:
            log.warning(
                "%s, cohort %d, %s/%s (%s): %d in doubt since %s: messages %s%s",
                it.journey, it.cohort_id, it.step, it.channel, it.mode, it.count, it.since.isoformat(timespec="seconds"),
                ", ".join(map(str, it.message_ids)), " ..." if it.count > len(it.message_ids) else "",
            )  # fmt: skip
        left = sum(it.count for it in done.left)
        if left:
            log.warning("They are not sent again: events settle them, or `retention reconcile --close` gives them up.")
        return {"by_events": done.by_events, "by_asking": done.by_asking, "left": left, "troubles": len(done.troubles)}


class RedeemOperator(BaseOperator):
    """Holds coupons against orders; XCom: looked_at, changed as counts."""

    def execute(self, context: Any) -> dict:
        from retention.orchestration import cohort
        from retention.store.database import connect

        done = cohort.redeem(connect(), on_progress=log.info)
        return {"looked_at": done.looked_at, "changed": done.changed}
