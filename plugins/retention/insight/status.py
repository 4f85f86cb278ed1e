"""How the journeys stand, and the kill switch. Owns the table of stops."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select, text, update
from sqlalchemy.dialects.postgresql import insert

from retention.store.audit import note
from retention.store.queries import run
from retention.store.tables import stops


def fetch_status(conn: Connection) -> list[dict]:
    """One row a journey and mode: open, held, settled (cohorts), last_cohort_at, in_doubt, failed (messages), error."""
    return [dict(row) for row in run(conn, "insight/journey_status").mappings()]


def fetch_stops(conn: Connection) -> list[dict]:
    """The stops that stand: journey (None: all), reason, stopped_by, stopped_at."""
    standing = select(stops.c.journey, stops.c.reason, stops.c.stopped_by, stops.c.stopped_at).where(
        stops.c.lifted_at.is_(None)
    )
    return [dict(row) for row in conn.execute(standing.order_by(stops.c.stopped_at)).mappings()]


def fetch_pauses(conn: Connection) -> list[dict]:
    """Providers to which nothing goes right now: account, channel, error, until_at, wait_s."""
    return [dict(row) for row in run(conn, "pacing/list_pauses").mappings()]


def stop_sending(conn: Connection, journey: str | None, *, reason: str, actor: str, now: datetime) -> bool:
    """Hold back everything of a journey (None: of all) from the next request on. False if it was stopped already."""
    made = conn.execute(
        insert(stops)
        .values(journey=journey, reason=reason, stopped_by=actor, stopped_at=now)
        .on_conflict_do_nothing()
        .returning(stops.c.stop_id)
    ).first()
    if made:
        note(conn, now, actor, "stop", journey, {"reason": reason})
    return made is not None


def lift_stop(conn: Connection, journey: str | None, *, reason: str, actor: str, now: datetime) -> bool:
    """Let a journey (None: what was stopped for all) send again. False if no such stop stands."""
    lifted = conn.execute(
        update(stops)
        .where(stops.c.lifted_at.is_(None), stops.c.journey.is_not_distinct_from(journey))
        .values(lifted_at=now)
    ).rowcount
    if lifted:
        note(conn, now, actor, "lift_stop", journey, {"reason": reason})
    return bool(lifted)


def count_waiting(conn: Connection, journey: str | None) -> int:
    """Messages that are planned and not handed over: what a stop holds back right now."""
    return conn.scalar(
        text(
            "select coalesce(sum(b.size), 0) from batches b join cohorts c using (cohort_id)"
            " where b.state in ('ready', 'sending') and (cast(:journey as text) is null or c.journey = :journey)"
        ),
        {"journey": journey},
    )
