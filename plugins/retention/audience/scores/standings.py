"""What churn, points and strata have in common: one run at a time, time runs one way, each run kept with what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from retention.errors import RetentionError
from retention.journey.scores import Scores
from retention.store.queries import run
from retention.store.tables import standing_runs


@dataclass(frozen=True)
class Standing:
    """One time that a score was worked out. `found`: what was found of everybody. `customers`: how many have the score;
    `moved`: how many rows were written. `is_repeat`: this moment's run was there already, and nothing was done."""

    as_of: datetime
    known_at: datetime
    computed_at: datetime
    zone: str
    config: Mapping[str, Any]
    found: Mapping[str, Any]
    customers: int
    moved: int
    is_repeat: bool = False


def find_standing(conn: Connection, score: str, as_of: datetime) -> Standing | None:
    """The latest run of a score (churn, points, strata) that is not later than `as_of`. None: there is none."""
    row = run(conn, "score/find_standing", score=score, as_of=as_of).one_or_none()
    return Standing(**row._mapping) if row else None


def begin(conn: Connection, score: str, as_of: datetime) -> Standing | None:
    """Take the score's turn until the transaction ends; the run of this very moment, if it was there already.

    Raises RetentionError for a moment before the latest run: what was decided stays as it is."""
    conn.execute(text("select pg_advisory_xact_lock(hashtext(:lock))"), {"lock": f"retention.scores.{score}"})
    conn.execute(text("set local work_mem = '256MB'"))
    last = conn.execute(
        standing_runs.select().where(standing_runs.c.score == score).order_by(standing_runs.c.as_of.desc()).limit(1)
    ).one_or_none()
    if last is None or last.as_of < as_of:
        return None
    if last.as_of == as_of:
        values = {name: value for name, value in last._mapping.items() if name != "score"}
        return Standing(**values, is_repeat=True)
    raise RetentionError(
        f"scores: {score} stands at {last.as_of.isoformat()}, {as_of.isoformat()} is not later. "
        "Read a past moment from history, or score a later one."
    )


def finish(
    conn: Connection,
    score: str,
    *,
    as_of: datetime,
    known_at: datetime,
    now: datetime,
    zone: str,
    config: Scores,
    found: Mapping[str, Any],
    customers: int,
    moved: int,
) -> Standing:
    """Keep the run."""
    done = Standing(as_of, known_at, now, zone, config.as_written(), dict(found), customers, moved)
    conn.execute(
        standing_runs.insert().values(
            score=score,
            as_of=as_of,
            known_at=known_at,
            computed_at=now,
            zone=zone,
            config=done.config,
            found=done.found,
            customers=customers,
            moved=moved,
        )
    )
    return done
