"""Lifetime value: what each customer will buy in the next 12 months. Owns the forecasts and how they are kept.

A refresh (`refresh_values`, daily) writes the values of those whose facts changed or, after a new fit (value_models, once a
month), of everybody; as_of.customer_values shows them as of any instant. All in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from io import StringIO

import numpy as np
from sqlalchemy import Connection, func, select

from retention.audience.scores import bg_nbd
from retention.audience.scores.value_models import (
    Models,
    ValueRules,
    columns_of,
    drop_temporary,
    read_models,
    sum_purchases,
)
from retention.store.queries import run
from retention.store.staging import analyze, copy_csv
from retention.store.tables import customer_values, value_runs

DAYS_A_YEAR = 365.25
DAYS_A_MONTH = DAYS_A_YEAR / 12
EVERYBODY = 200_000  # of more customers than that it is quicker to look at all


@dataclass(frozen=True)
class ValueRun:
    """What a refresh did. `note` says why it wrote nothing."""

    as_of: datetime
    is_full: bool = False
    customers: int = 0
    purchase_model_id: int | None = None
    note: str | None = None


def make_predictions(
    conn: Connection, models: Models, *, days: float = DAYS_A_YEAR, discount_rate: float = 0.0
) -> None:
    """Make the temporary table predictions from purchase_sums: of the `days` to come. A purchase is worth less by the rate a
    year, counted to the middle of its month."""
    drop_temporary(conn, "value_factors")
    drop_temporary(conn, "predictions")
    run(conn, "score/make_value_factors")
    frequency, age = (column.astype(np.int64) for column in columns_of(run(conn, "score/list_factor_keys"), 2))
    months = max(1, round(days / DAYS_A_MONTH))
    ends = days * np.arange(1, months + 1) / months
    upto = bg_nbd.purchases_if_alive(models.purchases, frequency[:, None], age[:, None], ends[None, :])
    weights = (1 + discount_rate) ** -((ends - days / months / 2) / DAYS_A_YEAR)
    discounted = (np.diff(upto, axis=1, prepend=0.0) * weights).sum(axis=1)
    table = StringIO()
    np.savetxt(table, np.column_stack([frequency, age, upto[:, -1], discounted]), fmt="%d,%d,%.17g,%.17g")
    copy_csv(conn, "value_factors", ("frequency", "age", "purchases", "discounted"), table.getvalue().encode())
    analyze(conn, "value_factors")
    spends = models.spends
    run(
        conn,
        "score/make_predictions",
        **asdict(models.purchases),
        currencies=list(spends),
        p=[it.p for it in spends.values()],
        q=[it.q for it in spends.values()],
        v=[it.v for it in spends.values()],
    )


def refresh_values(
    conn: Connection,
    as_of: datetime,
    *,
    zone: str,
    known_at: datetime | None = None,
    rules: ValueRules | None = None,
    changed: Sequence[str] | None = None,
) -> ValueRun:
    """Write the values as of an instant: of those whose facts changed since the last run or, if the models or the rate are
    others, of everybody. Safe to repeat. What is older than the last run is not written: history is what was said then.
    `changed`: who they are, if the caller knows; else they are looked for."""
    rules, known_at = rules or ValueRules(), known_at or as_of
    models = read_models(conn, as_of, known_at)
    if models is None:
        return ValueRun(as_of, note="no model was good so far")
    if conn.scalar(select(func.count()).where(value_runs.c.as_of > as_of)):
        return ValueRun(as_of, purchase_model_id=models.purchase_model_id, note="there are values of a later date")
    conn.execute(customer_values.delete().where(customer_values.c.as_of == as_of))
    conn.execute(value_runs.delete().where(value_runs.c.as_of == as_of))
    last = run(conn, "score/last_value_run", as_of=as_of).one_or_none()
    how = (models.purchase_model_id, list(models.spend_model_ids), rules.discount_rate, zone)
    is_full = True
    if last and how == (last.purchase_model_id, last.spend_model_ids, last.discount_rate, last.zone):
        if changed is None:
            since = {"since": last.as_of, "since_known": last.known_at}
            changed = run(conn, "score/changed_buyers", as_of=as_of, known_at=known_at, **since).scalars().all()
        is_full = len(changed) > EVERYBODY
    only = None if is_full else list(changed)
    sum_purchases(conn, as_of, zone=zone, known_at=known_at, customers=only)
    make_predictions(conn, models, discount_rate=rules.discount_rate)
    written = run(conn, "score/write_values", as_of=as_of).rowcount
    if only:
        written += run(conn, "score/write_vanished", as_of=as_of, customers=only).rowcount
    done = {
        "as_of": as_of,
        "known_at": known_at,
        "zone": zone,
        "purchase_model_id": models.purchase_model_id,
        "spend_model_ids": list(models.spend_model_ids),
        "discount_rate": rules.discount_rate,
        "is_full": is_full,
        "customers": written,
    }
    conn.execute(value_runs.insert().values(done))
    return ValueRun(as_of, is_full, written, models.purchase_model_id)
