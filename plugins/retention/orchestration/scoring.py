"""The day's scores, step by step: what the DAG scoring and `retention score` both run. Knows no Airflow.

Each step is safe to repeat. Facts that are held (intake.data_holds) are not scored: a change of tier starts journeys. What
stands at a later date already is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, func, select, text

from retention.audience.scores import refresh_scores
from retention.audience.scores.calibration import calibrate_purchases
from retention.audience.scores.churn import calibrate_churn, refresh_churn
from retention.audience.scores.freshness import fetch_standings, find_scores
from retention.audience.scores.lifetime_value import refresh_values
from retention.audience.scores.next_purchase import fit_cycles
from retention.audience.scores.preferences import refresh_preferences
from retention.audience.scores.strata import refresh_strata
from retention.audience.scores.value_dimensions import refresh_points
from retention.audience.scores.value_models import ValueRules, fit_models, is_fit_due
from retention.errors import DataHeld
from retention.intake.data_holds import find_fit_moment, find_hold
from retention.journey.conditions import walk
from retention.journey.load import Version
from retention.journey.scores import Scores
from retention.store.tables import score_calibrations

CALIBRATED_OVER = timedelta(days=182)
"""Scores of so long ago are held against what has happened since."""


@dataclass(frozen=True)
class Order:
    """What is asked for: scores as of an instant, `now` being the present."""

    engine: Engine
    as_of: datetime
    now: datetime
    known_at: datetime
    config: Scores
    is_rebuild: bool = False

    @property
    def zone(self) -> str:
        """Whose days and months count."""
        return self.config.scoring.timezone


@dataclass(frozen=True)
class Done:
    """What a step did, in words and as small counts."""

    words: str
    counts: dict[str, int]


@dataclass(frozen=True)
class ScoreStep:
    """One task. `score`: not done again where this one (by the name of list_standings.sql) stands later."""

    name: str
    about: str
    work: Callable[[Order], Done]
    score: str


def score_step(
    engine: Engine, name: str, as_of: datetime, *, now: datetime, config: Scores, is_rebuild: bool = False
) -> Done:
    """Do one step of STEPS. Raises DataHeld while facts are not fit to decide on, KeyError for no step."""
    step = BY_NAME[name]
    with engine.connect() as conn:
        if held := find_hold(conn):
            raise DataHeld(held)
        known_at, standings = find_fit_moment(conn, as_of), fetch_standings(conn, as_of)
    standing = standings.get(step.score)
    if standing and standing.newest > as_of:
        return Done(f"stands at {standing.newest.isoformat(timespec='seconds')} already, left as it is", {})
    return step.work(Order(engine, as_of, now, known_at, config, is_rebuild))


def needs_scores(version: Version) -> bool:
    """Whether anything of a journey reads scores: its audiences, its ranking, the conditions, variants and words of its steps."""
    if find_scores(version.audiences.values()) or version.journey.entry.rank_by in ("value", "churn", "tier"):
        return True
    if any("tier" in it.customer_uses for it in version.templates.values()):
        return True
    for step in version.journey.steps:
        conditions = step.only_if if isinstance(step.only_if, tuple) else ()
        branches = [step.send.instead, step.coupon.instead if step.coupon else None]
        if any(it.needs_scores for _, it in walk(conditions)) or any(it.needs_scores for it in branches if it):
            return True
    return False


def bring_scores(engine: Engine, as_of: datetime, config: Scores) -> None:
    """All scores as of a moment, as if it were the present; nothing is calibrated. For replays, day after day."""
    for step in STEPS:
        if step.name != "calibration":
            score_step(engine, step.name, as_of, now=as_of, config=config)


def _alone(order: Order, work: Callable[[Connection], Done]) -> Done:
    with order.engine.begin() as conn:
        conn.execute(text("select pg_advisory_xact_lock(hashtext('retention.scoring'))"))
        return work(conn)


def _score_tiers(order: Order) -> Done:
    with order.engine.connect() as conn:
        standing = fetch_standings(conn, order.as_of).get("tiers")
    is_there = standing is not None and standing.as_of == order.as_of
    done = refresh_scores(
        order.engine, order.as_of, now=order.now, config=order.config, known_at=order.known_at,
        rebuild=order.is_rebuild and not is_there,
    )  # fmt: skip
    how = "was there already" if done.is_repeat else "of everybody" if done.is_rebuild else "of those with news"
    counts = {"customers": done.customers, "touched": done.touched, "moved": done.moved}
    return Done(f"{how}: {done.touched:,} of {done.customers:,} customers summed up, {done.moved:,} moved", counts)


def _fit(order: Order) -> Done:
    def work(conn: Connection) -> Done:
        if not is_fit_due(conn, order.as_of, order.zone):
            return Done("done this month already", {})
        when = {"zone": order.zone, "known_at": order.known_at}
        fitted = fit_models(conn, order.as_of, **when, rules=ValueRules.of(order.config))
        cycles = fit_cycles(conn, order.as_of, **when)
        refused = {"purchases": fitted.purchases.refusal} | {name: it.refusal for name, it in fitted.spends.items()}
        said = "; ".join(f"{name}: {why or 'good'}" for name, why in refused.items())
        return Done(
            f"{said}; cycles of {cycles} categories", {"refused": sum(map(bool, refused.values())), "cycles": cycles}
        )

    return _alone(order, work)


def _score_values(order: Order) -> Done:
    def work(conn: Connection) -> Done:
        rules = ValueRules.of(order.config)
        done = refresh_values(conn, order.as_of, zone=order.zone, known_at=order.known_at, rules=rules)
        whose = "everybody" if done.is_full else "those with news"
        return Done(done.note or f"of {whose}: {done.customers:,} written", {"customers": done.customers})

    return _alone(order, work)


def _score_standing(refresh: Callable) -> Callable[[Order], Done]:
    def work(order: Order) -> Done:
        with order.engine.begin() as conn:
            how = {"now": order.now, "zone": order.zone, "config": order.config, "known_at": order.known_at}
            done = refresh(conn, order.as_of, **how)
        said = "was there already: " if done.is_repeat else ""
        return Done(
            f"{said}{done.customers:,} customers, {done.moved:,} changes",
            {"customers": done.customers, "moved": done.moved},
        )

    return work


def _score_preferences(order: Order) -> Done:
    def work(conn: Connection) -> Done:
        done = refresh_preferences(
            conn, order.as_of, zone=order.zone, rules=order.config.preferences, known_at=order.known_at
        )
        return Done(done.note or f"{done.customers:,} changed", {"customers": done.customers})

    return _alone(order, work)


def _calibrate(order: Order) -> Done:
    def work(conn: Connection) -> Done:
        begin = order.as_of.astimezone(ZoneInfo(order.zone)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        kept = select(func.count()).where(score_calibrations.c.until_at.between(begin, order.as_of))
        if conn.scalar(kept):
            return Done("done this month already", {})
        then, how = order.as_of - CALIBRATED_OVER, {"until": order.as_of, "zone": order.zone}
        found = [
            calibrate_purchases(conn, then, **how, rules=ValueRules.of(order.config)),
            calibrate_churn(conn, then, **how, config=order.config),
        ]
        said = [
            f"{it.score}: {it.customers:,} customers, {it.hits:,} of {it.foretold:,} foretold came"
            for it in found
            if it
        ]
        return Done("; ".join(said), {it.score: it.customers for it in found if it})

    return _alone(order, work)


STEPS = (
    ScoreStep("tiers", "sums, levels and tiers", _score_tiers, "tiers"),
    ScoreStep("fits", "models of lifetime value, cycles of categories; once a month", _fit, "tiers"),
    ScoreStep("values", "lifetime values", _score_values, "values"),
    ScoreStep("churn", "the scorecard of churn", _score_standing(refresh_churn), "churn"),
    ScoreStep("points", "seven dimensions of value", _score_standing(refresh_points), "points"),
    ScoreStep("strata", "five strata by expected value", _score_standing(refresh_strata), "strata"),
    ScoreStep("preferences", "channel and hour by past response", _score_preferences, "preferences"),
    ScoreStep("calibration", "scores of half a year ago against what happened; once a month", _calibrate, "tiers"),
)
"""In this order; each needs those before it. A new score is a line here, and in list_standings.sql."""

BY_NAME = {step.name: step for step in STEPS}
