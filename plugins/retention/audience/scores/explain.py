"""Why a customer is in a tier: the inputs worked out anew as of then, the cut points of that day's run, the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from retention.audience.scores.cuts import Cut, level_of, read_cuts
from retention.audience.scores.read import Run, find_run
from retention.audience.scores.refresh import sum_one
from retention.audience.scores.six import LEVELS, read_levels
from retention.journey.scores import DIMENSIONS, Scores
from retention.store.queries import run


@dataclass(frozen=True)
class Dimension:
    """One of the four: the value as it is compared (recency: seconds since 1970), its two cuts, and the level that these
    give by themselves. `kept_level` is the level down to which somebody who was there stays."""

    name: str
    value: float | None
    mid: Cut
    high: Cut
    level: str
    kept_level: str


@dataclass(frozen=True)
class Change:
    """A change of tier. `levels`: those at the change, by dimension; empty for the scheme shares."""

    scheme: str
    tier: str | None
    previous: str | None
    since: datetime
    levels: Mapping[str, str]


@dataclass(frozen=True)
class Explained:
    """A customer's scores as of the latest run until the moment asked for.

    `sums`: the inputs by the names of customer_sums, worked out from the facts as they were known then; empty if she was no
    customer. `tiers`: scheme -> tier. `history`: all changes until then, the first one first.
    """

    run: Run
    sums: Mapping[str, Any]
    dimensions: tuple[Dimension, ...]
    tiers: Mapping[str, str]
    history: tuple[Change, ...]


def explain_scores(conn: Connection, customer_id: str, as_of: datetime) -> Explained | None:
    """Inputs, cut points and history of one customer's tiers, as of a past moment; None before the first run.

    Works in the caller's transaction and leaves nothing in it.
    """
    last = find_run(conn, as_of)
    if last is None:
        return None
    config = Scores.model_validate(last.config)
    sums = sum_one(conn, customer_id, config, last.as_of, last.known_at)
    cuts: dict[str, dict[str, Cut]] = {}
    for cut in read_cuts(conn, last.run_id):
        cuts.setdefault(cut.dimension, {})[cut.point] = cut
    history = tuple(
        Change(row.scheme, row.tier, row.previous, row.since, _name_levels(row.levels))
        for row in run(conn, "score/list_tiers", customer_id=customer_id, as_of=last.as_of)
    )
    tiers = {change.scheme: change.tier for change in history}
    return Explained(
        last,
        sums,
        tuple(_dimension(name, _value(name, sums, config), cuts[name]) for name in DIMENSIONS) if sums else (),
        {scheme: tier for scheme, tier in tiers.items() if tier},
        history,
    )


def _value(name: str, sums: Mapping[str, Any], config: Scores) -> float | None:
    """What is compared with the cuts; None for nothing, which is low."""
    if name == "recency":
        return sums["last_order_at"].timestamp() if sums["last_order_at"] else None
    points = config.activity
    worth = {
        "frequency": sums["orders"],
        "monetary": sums["amount"],
        "activity": sums["logins"] * points.login
        + sums["views"] * points.view
        + sums["carts"] * points.cart
        + sums["participations"] * points.participation
        + sums["community"] * points.community,
    }
    return float(worth[name]) if worth[name] > 0 else None


def _dimension(name: str, value: float | None, cuts: Mapping[str, Cut]) -> Dimension:
    levels = (LEVELS[level_of(value, cuts, kept=kept)] for kept in (False, True))
    return Dimension(name, value, cuts["mid"], cuts["high"], *levels)


def _name_levels(code: int | None) -> dict[str, str]:
    if code is None:
        return {}
    return {name: LEVELS[level] for name, level in zip(DIMENSIONS, read_levels(code), strict=True)}
