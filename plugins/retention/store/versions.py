"""The texts that journeys ran on. Owns journey_versions; does not know what the texts mean."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from retention.store.tables import cohorts, journey_versions


def remember(conn: Connection, journey: str, content_hash: str, content: Mapping[str, str], now: datetime) -> int:
    """The id of this text, stored if it is new. Calling it twice is safe."""
    found = select(journey_versions.c.version_id).where(
        journey_versions.c.journey == journey, journey_versions.c.content_hash == content_hash
    )
    known = conn.scalar(found)
    if known is not None:
        return known
    conn.execute(
        insert(journey_versions)
        .values(journey=journey, content_hash=content_hash, content=dict(content), created_at=now)
        .on_conflict_do_nothing()
    )
    return conn.scalar(found)


def last_content(conn: Connection, journey: str) -> dict[str, str] | None:
    """The newest text of this journey that a cohort entered on, or None if it never ran."""
    return conn.scalar(
        select(journey_versions.c.content)
        .join(cohorts, cohorts.c.version_id == journey_versions.c.version_id)
        .where(journey_versions.c.journey == journey)
        .order_by(cohorts.c.created_at.desc(), cohorts.c.cohort_id.desc())
        .limit(1)
    )


def content_of_cohort(conn: Connection, cohort_id: int) -> dict[str, str]:
    """The text this cohort is pinned to."""
    return conn.execute(
        select(journey_versions.c.content)
        .join(cohorts, cohorts.c.version_id == journey_versions.c.version_id)
        .where(cohorts.c.cohort_id == cohort_id)
    ).scalar_one()


def contents_in_flight(conn: Connection, journey: str) -> list[tuple[dict[str, str], int]]:
    """Each text of this journey that unfinished cohorts are pinned to, with the number of those cohorts."""
    rows = conn.execute(
        select(journey_versions.c.version_id, func.count())
        .join(cohorts, cohorts.c.version_id == journey_versions.c.version_id)
        .where(journey_versions.c.journey == journey, cohorts.c.status != "settled")
        .group_by(journey_versions.c.version_id)
    ).all()
    return [
        (conn.scalar(select(journey_versions.c.content).where(journey_versions.c.version_id == v)), n) for v, n in rows
    ]


def journeys_in_flight(conn: Connection) -> list[str]:
    """The journeys that have unfinished cohorts."""
    return list(conn.scalars(select(cohorts.c.journey).where(cohorts.c.status != "settled").distinct()))
