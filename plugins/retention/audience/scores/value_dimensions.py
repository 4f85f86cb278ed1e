"""Seven dimensions of what a customer is worth: 0 to 100 points each, weighted, kept by date, explained.

Points are the share of those who have any of it that have no more; what nobody has is left out, and the rest weigh
more. All in the caller's transaction. Reads no clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text

from retention.audience.scores.standings import Standing, begin, find_standing, finish
from retention.audience.scores.value_models import drop_temporary
from retention.journey.score_rules import DIMENSIONS_OF_VALUE, Dimensions
from retention.journey.scores import Scores
from retention.store.queries import run
from retention.store.staging import analyze

STEPS = tuple(step / 100 for step in range(1, 101))
FACTS = ("amount", "orders", "interval")
PARTS = {
    f"{kind}_{period}_{fact}": (kind, period, fact)
    for kind in ("necessary", "discretionary")
    for period in ("recent", "before")
    for fact in FACTS
}
"""The twelve parts of the dimension `purchases`."""

TOLD = DIMENSIONS_OF_VALUE[1:]
_TABLES = ("order_lines", "value_inputs", "value_scores")


@dataclass(frozen=True)
class Part:
    """One of the twelve parts of purchases: what was bought, its points, how much of `purchases` it makes."""

    name: str
    input: float | None
    points: float | None
    weight: float


@dataclass(frozen=True)
class ValueDimension:
    """One of the seven. `input`: how many events (None for purchases, which has `parts`); `weight`: its part of the whole,
    the weights of what is left out shared out; `contribution`: points of the whole. `left_out`: why there are no points."""

    name: str
    input: float | None
    points: float | None
    weight: float
    contribution: float | None
    parts: tuple[Part, ...] = ()
    left_out: str | None = None


@dataclass(frozen=True)
class ExplainedValue:
    """A customer's seven dimensions as of the latest run until the moment asked for, worked out anew from the facts as
    they were known then. `points` None: she had nothing of any. `kept`: what audiences see, at most the dead band away."""

    run: Standing
    points: float | None
    dimensions: tuple[ValueDimension, ...]
    kept: Mapping[str, Any] | None


def refresh_points(
    conn: Connection,
    as_of: datetime,
    *,
    now: datetime,
    zone: str,
    config: Scores | None = None,
    known_at: datetime | None = None,
) -> Standing:
    """Bring the seven dimensions to `as_of`, from facts that had occurred by then and were recorded by `known_at`
    (default: as_of). Written are those of whom a dimension moved by the dead band. The same moment again does nothing; an
    earlier one raises RetentionError."""
    config, known_at = config or Scores(), known_at or as_of
    if there := begin(conn, "points", as_of):
        return there
    rules = config.dimensions
    _make_inputs(conn, config, as_of, known_at, None)
    scales = dict(run(conn, "score/scale_value", steps=list(STEPS)).one()._mapping)
    _score(conn, rules, scales)
    moved = run(conn, "score/note_points", as_of=as_of, dead_band=max(rules.dead_band, 0.005)).rowcount
    customers = conn.scalar(select(func.count()).select_from(text("value_scores")))
    left_out = [name for name in DIMENSIONS_OF_VALUE if not _has(name, scales)]
    return finish(
        conn, "points", as_of=as_of, known_at=known_at, now=now, zone=zone, config=config,
        found={"left_out": left_out, "scales": scales}, customers=customers, moved=moved,
    )  # fmt: skip


def _make_inputs(conn: Connection, config: Scores, as_of: datetime, known_at: datetime, one: str | None) -> None:
    rules = config.dimensions
    for table in _TABLES:
        drop_temporary(conn, table)
    whose = {"as_of": as_of, "known_at": known_at, "one": one}
    rates = json.dumps({name: str(rate) for name, rate in config.rates.items()})
    money = {"currency": config.currency, "rates": rates}
    run(conn, "score/make_order_lines", **whose, **money, necessary=list(rules.purchases.necessary))
    analyze(conn, "order_lines")
    kinds = {name: list(getattr(rules, name).events) for name in TOLD}
    every = sorted({kind for listed in kinds.values() for kind in listed})
    run(
        conn, "score/make_value_inputs", **whose, **money, **kinds, kinds=every,
        recent_from=as_of - rules.purchases.recent,
    )  # fmt: skip


def _score(conn: Connection, rules: Dimensions, scales: Mapping[str, list[float] | None]) -> None:
    parts, dimensions = _weigh_parts(rules, scales), _weigh(rules, scales)
    run(
        conn,
        "score/score_value",
        has_purchases=_has("purchases", scales),
        **{f"{name}_scale": scales[name] for name in (*PARTS, *TOLD)},
        **{f"{name}_weight": weight for name, weight in (parts | dimensions).items()},
    )


def _has(name: str, scales: Mapping[str, list[float] | None]) -> bool:
    """Whether anybody has any of it."""
    return any(scales[part] for part in (PARTS if name == "purchases" else (name,)))


def _share_out(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total if total else 0.0 for name, weight in weights.items()}


def _weigh_parts(rules: Dimensions, scales: Mapping[str, list[float] | None]) -> dict[str, float]:
    """What each of the twelve weighs; together 1 over those that anybody has."""
    it = rules.purchases
    return _share_out(
        {
            name: getattr(it.kinds, kind) * getattr(it.periods, period) * getattr(it.facts, fact)
            if scales[name]
            else 0.0
            for name, (kind, period, fact) in PARTS.items()
        }
    )


def _weigh(rules: Dimensions, scales: Mapping[str, list[float] | None]) -> dict[str, float]:
    """What each of the seven weighs; together 1 over those that anybody has."""
    return _share_out(
        {name: getattr(rules, name).weight if _has(name, scales) else 0.0 for name in DIMENSIONS_OF_VALUE}
    )


def explain_points(conn: Connection, customer_id: str, as_of: datetime) -> ExplainedValue | None:
    """One customer's seven dimensions with what they are made of, as of a past moment; None before the first run.

    Works in the caller's transaction and leaves nothing in it."""
    last = find_standing(conn, "points", as_of)
    if last is None:
        return None
    config, scales = Scores.model_validate(last.config), last.found["scales"]
    rules = config.dimensions
    _make_inputs(conn, config, last.as_of, last.known_at, customer_id)
    _score(conn, rules, scales)
    inputs = conn.execute(text("select * from value_inputs")).mappings().one_or_none() or {}
    scores = conn.execute(text("select * from value_scores")).mappings().one_or_none() or {}
    for table in _TABLES:
        drop_temporary(conn, table)
    parts, weights = _weigh_parts(rules, scales), _weigh(rules, scales)
    rows = run(conn, "score/list_points", customer_id=customer_id, as_of=last.as_of).mappings().all()
    return ExplainedValue(
        last,
        scores.get("points"),
        tuple(
            ValueDimension(
                name,
                None if name == "purchases" else inputs.get(name),
                scores.get(name),
                weights[name],
                None if scores.get(name) is None else scores[name] * weights[name],
                _explain_parts(inputs, scales, parts) if name == "purchases" else (),
                "nobody has any" if name in last.found["left_out"] else None,
            )
            for name in DIMENSIONS_OF_VALUE
        ),
        dict(rows[-1]) if rows else None,
    )


def _explain_parts(
    inputs: Mapping[str, Any], scales: Mapping[str, list[float] | None], weights: Mapping[str, float]
) -> tuple[Part, ...]:
    told = []
    for name in PARTS:
        value, scale = inputs.get(name), scales[name]
        reached = -value if value is not None and name.endswith("interval") else value
        points = None if not scale else sum(step <= reached for step in scale) if reached is not None else 0
        told.append(Part(name, value, points, weights[name]))
    return tuple(told)
