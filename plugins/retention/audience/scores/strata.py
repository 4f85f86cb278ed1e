"""Five strata by what is expected of customers, not by what they spent: kept by date, explained. 1 is the best.

Expected is the lifetime value of the 12 months to come. Where a customer's amounts are not known, expected purchases
stand in; where there is no model at all, the past year's spending less the points of churn. All in the caller's
transaction. Reads no clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, text

from retention.audience.scores.standings import Standing, begin, find_standing, finish
from retention.audience.scores.value_models import drop_temporary
from retention.journey.score_rules import STRATA
from retention.journey.scores import Scores
from retention.store.queries import look_as_of, run
from retention.store.staging import analyze
from retention.store.tables import value_runs

PAST = timedelta(days=365)
"""How far spending looks back that stands in where there is no model."""


@dataclass(frozen=True)
class StratumChange:
    """A change of stratum, or of what it is based on. `stratum` None: no longer in one."""

    stratum: int | None
    previous: int | None
    basis: str | None
    value: float | None
    since: datetime


@dataclass(frozen=True)
class ExplainedStratum:
    """A customer's stratum as of the latest run until the moment asked for. `value` and `basis` (lifetime_value,
    purchases, past_year) are worked out anew from what was known then. `cuts`: who exceeds the first is in stratum 1;
    `kept`: down to there who was above stays. `note` says why there is no value."""

    run: Standing
    stratum: int | None
    basis: str | None
    value: float | None
    cuts: tuple[float, ...]
    kept: tuple[float, ...]
    history: tuple[StratumChange, ...]
    note: str | None = None


def refresh_strata(
    conn: Connection,
    as_of: datetime,
    *,
    now: datetime,
    zone: str,
    config: Scores | None = None,
    known_at: datetime | None = None,
) -> Standing:
    """Bring strata to `as_of`; lifetime values and churn have to be there already. Only changes are written. The same
    moment again does nothing; an earlier one raises RetentionError."""
    config, known_at = config or Scores(), known_at or as_of
    if there := begin(conn, "strata", as_of):
        return there
    is_modelled = _has_values(conn, as_of, known_at)
    _expect(conn, config, as_of, known_at, is_modelled=is_modelled)
    shares = config.strata.shares
    kept_shares = [round(share - config.strata.dead_band, 6) for share in shares]
    row = run(conn, "score/cut_strata", shares=[*shares, *kept_shares]).one()
    cuts = row.cuts or []
    cuts, kept = cuts[: STRATA - 1], cuts[STRATA - 1 :]
    moved = run(conn, "score/judge_strata", as_of=as_of, cuts=cuts, kept=kept).rowcount
    found = {"is_modelled": is_modelled, "cuts": cuts, "kept": kept, "typical": row.typical,
             "by_value": row.by_value, "by_purchases": row.by_purchases}  # fmt: skip
    return finish(
        conn, "strata", as_of=as_of, known_at=known_at, now=now, zone=zone, config=config, found=found,
        customers=row.customers, moved=moved,
    )  # fmt: skip


def _has_values(conn: Connection, as_of: datetime, known_at: datetime) -> bool:
    runs = value_runs.c
    return conn.scalar(select(func.count()).where(runs.is_full, runs.as_of <= as_of, runs.known_at <= known_at)) > 0


def _expect(
    conn: Connection,
    config: Scores,
    as_of: datetime,
    known_at: datetime,
    *,
    is_modelled: bool,
    one: str | None = None,
    typical: float | None = None,
) -> None:
    """Make the temporary table expected, of everybody or of one; `typical`: what a purchase was taken for then."""
    _drop(conn)
    whose = {"as_of": as_of, "known_at": known_at, "one": one}
    rates = json.dumps({name: str(rate) for name, rate in config.rates.items()})
    money = {"currency": config.currency, "rates": rates}
    if is_modelled:
        look_as_of(conn, as_of, known_at=known_at)
        run(conn, "score/expect_by_value", **whose, **money, typical=typical)
    else:
        run(conn, "score/make_order_lines", **whose, **money, necessary=[])
        analyze(conn, "order_lines")
        run(conn, "score/expect_by_past", **whose, **money, from_at=as_of - PAST)
    analyze(conn, "expected")


def _drop(conn: Connection) -> None:
    drop_temporary(conn, "expected")
    drop_temporary(conn, "order_lines")


def explain_stratum(conn: Connection, customer_id: str, as_of: datetime) -> ExplainedStratum | None:
    """One customer's stratum with value, basis and cuts, as of a past moment; None before the first run.

    Works in the caller's transaction and leaves no table in it."""
    last = find_standing(conn, "strata", as_of)
    if last is None:
        return None
    config, found = Scores.model_validate(last.config), last.found
    how = {"is_modelled": found["is_modelled"], "one": customer_id, "typical": found["typical"]}
    _expect(conn, config, last.as_of, last.known_at, **how)
    row: Mapping[str, Any] = conn.execute(text("select * from expected")).mappings().one_or_none() or {}
    _drop(conn)
    rows = run(conn, "score/list_strata", customer_id=customer_id, as_of=last.as_of)
    history = tuple(StratumChange(it.stratum, it.previous, it.basis, it.value, it.since) for it in rows)
    return ExplainedStratum(
        last,
        history[-1].stratum if history else None,
        row.get("basis"),
        row.get("value"),
        _floats(found["cuts"]),
        _floats(found["kept"]),
        history,
        None if row else "no customer then, or one who never bought",
    )


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
