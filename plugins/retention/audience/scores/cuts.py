"""Cut points: where levels and shares begin, and down to where they are kept. Works them out of quantiles or of fixed values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert

from retention.journey.scores import DIMENSIONS, Cuts, Scores
from retention.store.queries import run
from retention.store.tables import score_cuts

POINTS = ("mid", "high")


@dataclass(frozen=True)
class Cut:
    """Who exceeds `cut` (or reaches it, if `is_inclusive`) rises to `point`; who was there stays down to `kept`.

    None: there was nobody to cut, and nobody rises. Recency in seconds since 1970, the others in their own unit.
    """

    dimension: str
    point: str
    cut: float | None
    kept: float | None
    is_inclusive: bool = False

    def bounds(self) -> dict[str, float | None]:
        """The two as what has to be exceeded, named for SQL."""
        name = f"{self.dimension}_{self.point}"
        return {name: self._exceed(self.cut), f"{name}_kept": self._exceed(self.kept)}

    def _exceed(self, value: float | None) -> float | None:
        return math.nextafter(value, -math.inf) if self.is_inclusive and value is not None else value


def weigh(config: Scores) -> dict[str, float]:
    """The points of each kind of activity, as parameters."""
    return config.activity.model_dump()


def find_cuts(conn: Connection, config: Scores, as_of: datetime) -> tuple[list[Cut], int]:
    """The cuts of the four dimensions over the customers in scored_sums, and how many these are."""
    asked = {name: _ask(getattr(config.cuts, name), config.dead_band) for name in DIMENSIONS}
    row = run(conn, "score/find_cuts", **asked, **weigh(config)).one()._mapping
    cuts: list[Cut] = []
    for name in DIMENSIONS:
        said: Cuts = getattr(config.cuts, name)
        if said.shares:
            mid, mid_kept, high, high_kept = row[name] or (None,) * 4
            cuts += [Cut(name, "mid", mid, mid_kept), Cut(name, "high", high, high_kept)]
        else:
            cuts += [_fix(name, point, getattr(said, point), config.dead_band, as_of) for point in POINTS]
    return cuts, row["customers"]


def _ask(said: Cuts, dead_band: float) -> list[float]:
    """The shares of which quantiles are needed: of each cut, and of the one below it."""
    mid, high = said.shares or (0.5, 0.5)
    return [mid, _below(mid, dead_band), high, _below(high, dead_band)]


def _below(share: float, dead_band: float) -> float:
    return max(round(share - dead_band, 9), 0.0)


def _fix(name: str, point: str, value: object, dead_band: float, as_of: datetime) -> Cut:
    if isinstance(value, timedelta):
        return Cut(name, point, (as_of - value).timestamp(), (as_of - value * (1 + dead_band)).timestamp(), True)
    number = float(value)  # type: ignore[arg-type]
    return Cut(name, point, number, number * (1 - dead_band), True)


def all_bounds(cuts: Iterable[Cut]) -> dict[str, float | None]:
    """The bounds of all cuts, as parameters."""
    return {name: value for cut in cuts for name, value in cut.bounds().items()}


def write_cuts(conn: Connection, run_id: int, cuts: Iterable[Cut]) -> None:
    """Keep the cuts of a run."""
    rows = [{"run_id": run_id, **cut.__dict__} for cut in cuts]
    conn.execute(insert(score_cuts), rows)


def read_cuts(conn: Connection, run_id: int) -> list[Cut]:
    """The cuts of a run."""
    return [Cut(**row._mapping) for row in run(conn, "score/list_cuts", run_id=run_id)]


def level_of(value: float | None, cuts: Mapping[str, Cut], *, kept: bool = False) -> int:
    """The level (0 to 2) of a value by the cuts of its dimension, or by the looser ones."""
    level = 0
    for number, point in enumerate(POINTS, 1):
        bounds = list(cuts[point].bounds().values())
        bound = bounds[1] if kept else bounds[0]
        if value is not None and bound is not None and value > bound:
            level = number
    return level
