"""Scores as they were worked out: the run that held at an instant, and who was in which tier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from retention.store.queries import run


@dataclass(frozen=True)
class Run:
    """One time that scores were worked out. `config`: the settings as plain data."""

    run_id: int
    as_of: datetime
    known_at: datetime
    computed_at: datetime
    is_rebuild: bool
    config: Mapping[str, Any]
    customers: int
    touched: int
    moved: int


@dataclass(frozen=True)
class Tier:
    """A customer's tier since a moment; `previous`: the one before, None for the first."""

    tier: str
    since: datetime
    previous: str | None


def find_run(conn: Connection, as_of: datetime) -> Run | None:
    """The latest run that is not later than `as_of`: how old it is says how fresh the scores are. None: there is none."""
    row = run(conn, "score/find_run", as_of=as_of).one_or_none()
    return Run(**row._mapping) if row else None


def read_tiers(conn: Connection, as_of: datetime, scheme: str = "six") -> dict[str, Tier]:
    """Everybody's tier as of any past moment, by customer. Empty before the first run, or for a scheme that was not kept.

    What was decided then, from what was known then: nothing that was learned later changes it.
    """
    rows = run(conn, "score/read_tiers", as_of=as_of, scheme=scheme)
    return {row.customer_id: Tier(row.tier, row.since, row.previous) for row in rows}
