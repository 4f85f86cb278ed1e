"""The books of a cohort: whether everybody has a decision and every send an answer. Changes only the cohort's status."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, update

from retention.errors import BooksOpen
from retention.journey.load import Version
from retention.store.queries import run
from retention.store.tables import cohorts

_REMEDIES = {
    "undecided": "clear the step's `plan`",
    "not delivered": "clear the step's `deliver`",
    "in doubt": "`retention reconcile` settles what can be settled; they are not sent again",
    "failed": "see the batch's error in `retention status`, mend it, then clear the step's `deliver`",
}


def find_gaps(conn: Connection, version: Version, cohort_id: int) -> list[tuple[str, str, int]]:
    """(step, what is missing, people) for everything that keeps the cohort open."""
    steps = [step.id for step in version.journey.steps]
    return [tuple(row) for row in run(conn, "insight/cohort_gaps", cohort_id=cohort_id, steps=steps)]


def close_books(conn: Connection, version: Version, cohort_id: int, *, now: datetime) -> None:
    """Mark the cohort as settled. Calling it again is safe. Raises BooksOpen, naming each step and what to do."""
    gaps = find_gaps(conn, version, cohort_id)
    if gaps:
        listed = "; ".join(f"{step}: {people} {gap} - {_REMEDIES[gap]}" for step, gap, people in gaps)
        raise BooksOpen(f"{version.journey.journey}, cohort {cohort_id}: {listed}. Then clear `settle`.")
    conn.execute(
        update(cohorts)
        .where(cohorts.c.cohort_id == cohort_id, cohorts.c.status == "open")
        .values(status="settled", settled_at=now)
    )
