"""The audit log: who did what to a journey. Append-only."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from retention.store.tables import audit_log


def note(
    conn: Connection,
    at: datetime,
    actor: str,
    action: str,
    journey: str | None,
    detail: dict,
    cohort_id: int | None = None,
) -> None:
    """Append one entry in the caller's transaction."""
    conn.execute(
        insert(audit_log).values(at=at, actor=actor, action=action, journey=journey, cohort_id=cohort_id, detail=detail)
    )
