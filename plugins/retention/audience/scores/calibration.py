"""How right a score was: what it said of customers at an instant, beside what they did afterwards. Knows no score's rules.

    make_forecasts(conn)                       the temporary table forecasts(customer_id, score, expected), empty
    ... insert what the score said then ...
    calibrate(conn, "churn", then, until=..., zone=..., threshold=60, event="silent")

Whoever makes a score fills the table by a statement of their own; a higher score must mean that the event is likelier.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from retention.audience.scores.lifetime_value import make_predictions
from retention.audience.scores.value_models import (
    Models,
    ValueRules,
    drop_temporary,
    fit_sums,
    read_models,
    sum_purchases,
)
from retention.store.queries import run
from retention.store.tables import score_calibrations

Event = Literal["bought", "silent"]
"""What was foretold: a purchase, or none, between the instant and `until`."""


@dataclass(frozen=True)
class Decile:
    """A tenth of the customers, 1 with the highest scores. `lift`: how much commoner the event was than among all."""

    decile: int
    customers: int
    lowest: float
    highest: float
    expected: float | None
    purchases: int
    positives: int
    lift: float | None


@dataclass(frozen=True)
class Calibration:
    """A score against what happened. None where there is nothing to divide by: nobody was foretold, or nothing happened."""

    score: str
    as_of: datetime
    until: datetime
    threshold: float
    customers: int
    positives: int
    foretold: int
    hits: int
    deciles: tuple[Decile, ...]

    @property
    def precision(self) -> float | None:
        """Of those foretold, the share that came true."""
        return self.hits / self.foretold if self.foretold else None

    @property
    def recall(self) -> float | None:
        """Of what happened, the share that was foretold."""
        return self.hits / self.positives if self.positives else None

    @property
    def top_lift(self) -> float | None:
        return self.deciles[0].lift if self.deciles else None

    @property
    def expected(self) -> float | None:
        """Purchases that were expected of all, if the score says."""
        known = [it.expected for it in self.deciles if it.expected is not None]
        return sum(known) if known else None

    @property
    def purchases(self) -> int:
        return sum(it.purchases for it in self.deciles)


def make_forecasts(conn: Connection) -> None:
    """An empty temporary table forecasts (customer_id, score, expected), of this transaction."""
    drop_temporary(conn, "forecasts")
    run(conn, "score/make_forecasts")


def calibrate(
    conn: Connection,
    score: str,
    as_of: datetime,
    *,
    until: datetime,
    zone: str,
    threshold: float,
    event: Event = "bought",
    known_at: datetime | None = None,
    keep: bool = True,
) -> Calibration:
    """Hold the table forecasts against what happened after `as_of`, until `until`, as known at `known_at` (default: `until`).
    A customer is foretold from `threshold` on. The result is kept in score_calibrations unless told otherwise."""
    found = run(
        conn,
        "score/judge_forecasts",
        as_of=as_of,
        until=until,
        known_at=known_at or until,
        zone=zone,
        threshold=threshold,
        is_silence=event == "silent",
    ).all()
    customers, positives = sum(row.customers for row in found), sum(row.positives for row in found)
    base = positives / customers if customers else 0.0
    deciles = tuple(
        Decile(
            row.decile,
            row.customers,
            row.lowest,
            row.highest,
            row.expected,
            row.purchases,
            row.positives,
            row.positives / row.customers / base if base else None,
        )
        for row in found
    )
    result = Calibration(
        score,
        as_of,
        until,
        threshold,
        customers,
        positives,
        sum(row.foretold for row in found),
        sum(row.hits for row in found),
        deciles,
    )
    if keep:
        _keep(conn, result)
    return result


def calibrate_purchases(
    conn: Connection,
    as_of: datetime,
    *,
    until: datetime,
    zone: str,
    known_at: datetime | None = None,
    threshold: float = 0.5,
    rules: ValueRules | None = None,
    keep: bool = True,
) -> Calibration | None:
    """The purchases that BG/NBD expected between `as_of` and `until` against those that came. It is told only what was known
    at `as_of` or, with `known_at`, then: for facts that were loaded as history. The model is the good one of that instant,
    else one fitted now to the same facts; None where there is none to be had."""
    sum_purchases(conn, as_of, zone=zone, known_at=known_at or as_of)
    models = read_models(conn, as_of, known_at or as_of)
    if models is None:
        parameters = fit_sums(conn, rules or ValueRules()).purchases
        if parameters.refusal:
            return None
        models = Models(parameters.parameters)
    make_predictions(conn, models, days=(until - as_of).total_seconds() / 86400)
    make_forecasts(conn)
    run(conn, "score/forecast_purchases")
    latest = max(until, known_at) if known_at else until
    return calibrate(conn, "purchases", as_of, until=until, zone=zone, threshold=threshold, known_at=latest, keep=keep)


def list_calibrations(conn: Connection, score: str) -> list[Calibration]:
    """What was kept of a score, the oldest first: how right it has been over time."""
    return [
        Calibration(
            row.score,
            row.as_of,
            row.until_at,
            row.threshold,
            row.customers,
            row.positives,
            row.foretold,
            row.hits,
            tuple(Decile(**it) for it in row.deciles),
        )
        for row in run(conn, "score/list_calibrations", score=score)
    ]


def _keep(conn: Connection, result: Calibration) -> None:
    row = {
        "score": result.score,
        "as_of": result.as_of,
        "until_at": result.until,
        "threshold": result.threshold,
        "customers": result.customers,
        "positives": result.positives,
        "foretold": result.foretold,
        "hits": result.hits,
        "deciles": [asdict(it) for it in result.deciles],
    }
    new = insert(score_calibrations).values(row)
    conn.execute(new.on_conflict_do_update(index_elements=["score", "as_of", "until_at", "threshold"], set_=row))
