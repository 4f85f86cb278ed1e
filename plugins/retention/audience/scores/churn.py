"""Churn: a scorecard of weighted indicators, kept by date with two thresholds, explained line by line.

All in the caller's transaction. Reads no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from retention.audience.scores.calibration import Calibration, calibrate, make_forecasts
from retention.audience.scores.next_purchase import MIN_CUSTOMERS, WEIGHT
from retention.audience.scores.standings import Standing, begin, find_standing, finish
from retention.audience.scores.value_models import drop_temporary
from retention.journey.score_rules import INDICATORS, Churn
from retention.journey.scores import Scores
from retention.store.queries import run
from retention.store.staging import analyze

_PARAMETERS = {
    "overdue": "overdue",
    "no_login": "login",
    "no_response": "response",
    "complaints": "complaints",
    "undone": "undone",
}


@dataclass(frozen=True)
class Indicator:
    """One line of the scorecard. `input` is measured in `unit` between `begins` and `full`; `share` of it counts (0 to
    1), so that `contribution` points of the score are its own. `left_out`: why it has no data, and the rest weigh more."""

    name: str
    unit: str
    input: float | None
    begins: float
    full: float
    weight: float
    share: float | None
    contribution: float | None
    left_out: str | None = None


@dataclass(frozen=True)
class ChurnChange:
    """A change of state: active, warning, churned; None: no longer scored."""

    state: str | None
    previous: str | None
    since: datetime
    score: float | None


@dataclass(frozen=True)
class ExplainedChurn:
    """A customer's churn as of the latest run until the moment asked for. `score` is worked out anew from the facts as
    they were known then; None with its reason in `note`. `facts`: what the inputs are made of, by name."""

    run: Standing
    state: str | None
    score: float | None
    warning: float
    churned: float
    dead_band: float
    indicators: tuple[Indicator, ...]
    facts: Mapping[str, Any]
    history: tuple[ChurnChange, ...]
    note: str | None = None


def refresh_churn(
    conn: Connection,
    as_of: datetime,
    *,
    now: datetime,
    zone: str,
    config: Scores | None = None,
    known_at: datetime | None = None,
) -> Standing:
    """Bring the scorecard to `as_of`, from facts that had occurred by then and were recorded by `known_at` (default:
    as_of); days are those of `zone`. Only changes of state are written. The same moment again does nothing; an earlier
    one raises RetentionError."""
    config, known_at = config or Scores(), known_at or as_of
    if there := begin(conn, "churn", as_of):
        return there
    found = score_churn(conn, as_of, zone=zone, known_at=known_at, rules=config.churn)
    rules = config.churn
    weights = {f"{short}_weight": getattr(rules, name).weight for name, short in _PARAMETERS.items()}
    limits = {"warning": rules.warning, "churned": rules.churned, "dead_band": rules.dead_band}
    moved = run(conn, "score/judge_churn", as_of=as_of, **weights, **limits).rowcount
    counts = dict(run(conn, "score/count_churn").one()._mapping)
    customers = counts.pop("customers")
    found |= {"with_data": counts, "left_out": [name for name, count in counts.items() if not count]}
    return finish(
        conn, "churn", as_of=as_of, known_at=known_at, now=now, zone=zone, config=config, found=found,
        customers=customers, moved=moved,
    )  # fmt: skip


def score_churn(
    conn: Connection,
    as_of: datetime,
    *,
    zone: str,
    known_at: datetime | None = None,
    rules: Churn | None = None,
    one: str | None = None,
    found: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the temporary table churn_scores as of an instant, of all customers or `one`; what was found of everybody, or
    is given as `found`: usual_days (the interval of all, or None), logins, complaints, undone (whether the shop tells of
    them)."""
    rules, known_at = rules or Churn(), known_at or as_of
    when = {"as_of": as_of, "known_at": known_at}
    drop_temporary(conn, "rhythms")
    drop_temporary(conn, "churn_scores")
    run(conn, "score/make_rhythms", **when, zone=zone, one=one, undone_from=as_of - rules.undone.window)
    analyze(conn, "rhythms")
    if found is None:
        found = _find(conn, rules, when)
    run(
        conn,
        "score/score_churn",
        **when,
        zone=zone,
        one=one,
        usual_days=found["usual_days"],
        has_logins=found["logins"],
        has_complaints=found["complaints"],
        has_undone=found["undone"],
        draw=WEIGHT,
        logins_from=as_of - max(rules.no_login.full, rules.no_response.window),
        contacts_from=as_of - rules.no_response.window,
        answered_by=as_of - rules.no_response.grace,
        complaints_from=as_of - rules.complaints.window,
        least_weight=rules.least_known * _weight_of_all(rules) - 1e-9,
        **{f"{short}_{key}": value for name, short in _PARAMETERS.items() for key, value in _ramp(rules, name).items()},
    )
    return dict(found)


def _find(conn: Connection, rules: Churn, when: Mapping[str, datetime]) -> dict[str, Any]:
    usual = run(conn, "score/usual_rhythm").one()
    feeds = run(
        conn,
        "score/find_feeds",
        **when,
        logins_from=when["as_of"] - rules.no_login.begins,
        logins_until=when["as_of"] - rules.no_login.full,
    ).one()
    return {"usual_days": usual.days if usual.customers >= MIN_CUSTOMERS else None, **feeds._mapping}


def _ramp(rules: Churn, name: str) -> dict[str, float]:
    line = getattr(rules, name)
    begins, full = (it.total_seconds() if isinstance(it, timedelta) else it for it in (line.begins, line.full))
    return {"weight": line.weight, "begins": begins, "full": full}


def _weight_of_all(rules: Churn) -> float:
    return sum(getattr(rules, name).weight for name in INDICATORS)


def calibrate_churn(
    conn: Connection,
    as_of: datetime,
    *,
    until: datetime,
    zone: str,
    known_at: datetime | None = None,
    config: Scores | None = None,
    threshold: float | None = None,
    keep: bool = True,
) -> Calibration:
    """The scorecard as of an instant against who bought nothing until another. Foretold: who reached `threshold`
    (default: the one of `churned`), whatever state the dead band left them in. It is told only what was known at `as_of`
    or, with `known_at`, then: for facts that were loaded as history."""
    rules = (config or Scores()).churn
    score_churn(conn, as_of, zone=zone, known_at=known_at or as_of, rules=rules)
    make_forecasts(conn)
    run(conn, "score/forecast_churn")
    return calibrate(
        conn, "churn", as_of, until=until, zone=zone, known_at=known_at or until,
        threshold=rules.churned if threshold is None else threshold, event="silent", keep=keep,
    )  # fmt: skip


def explain_churn(conn: Connection, customer_id: str, as_of: datetime) -> ExplainedChurn | None:
    """One customer's scorecard line by line, as of a past moment; None before the first run.

    Works in the caller's transaction and leaves nothing in it."""
    last = find_standing(conn, "churn", as_of)
    if last is None:
        return None
    rules = Scores.model_validate(last.config).churn
    score_churn(
        conn, last.as_of, zone=last.zone, known_at=last.known_at, rules=rules, one=customer_id, found=last.found
    )
    row = conn.execute(text("select * from churn_scores")).mappings().one_or_none()
    drop_temporary(conn, "rhythms")
    drop_temporary(conn, "churn_scores")
    rows = run(conn, "score/list_churn", customer_id=customer_id, as_of=last.as_of)
    history = tuple(ChurnChange(it.state, it.previous, it.since, it.score) for it in rows)
    facts = {
        name: value for name, value in (row or {}).items() if name not in (*INDICATORS, "customer_id", "known", "score")
    }
    score = float(row["score"]) if row and row["score"] is not None else None
    note = None
    if not row:
        note = "no customer then, or one who never bought: nobody to lose"
    elif score is None:
        note = f"less than {rules.least_known:.0%} of the weight has data"
    return ExplainedChurn(
        last,
        history[-1].state if history else None,
        score,
        rules.warning,
        rules.churned,
        rules.dead_band,
        tuple(_explain(rules, name, row, last.found) for name in INDICATORS) if row else (),
        facts,
        history,
        note,
    )


def _explain(rules: Churn, name: str, row: Mapping[str, Any], found: Mapping[str, Any]) -> Indicator:
    field, unit, reason = {
        "overdue": ("overdue_by", "intervals", "too few intervals, of the customer and of everybody"),
        "no_login": ("unseen_days", "days", "the shop tells of no logins, or not for long enough"),
        "no_response": ("unanswered", "messages", "not written to in the window"),
        "complaints": ("complained", "complaints", "the shop tells of no complaints"),
        "undone": (
            "undone_share",
            "of the orders",
            "no order in the window" if found["undone"] else "the shop tells of no cancelled or refunded orders",
        ),
    }[name]
    per = 86400 if name == "no_login" else 1
    ramp, share, value = _ramp(rules, name), row[name], row[field]
    return Indicator(
        name,
        unit,
        None if value is None else float(value),
        ramp["begins"] / per,
        ramp["full"] / per,
        ramp["weight"],
        share,
        None if share is None or not row["known"] else 100 * share * ramp["weight"] / row["known"],
        reason if share is None else None,
    )
