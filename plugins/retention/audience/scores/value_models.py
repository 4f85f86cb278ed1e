"""The models of lifetime value in the database: fitted, kept with their reasons, read back as of an instant.

A bad fit is kept with the reason, and the last good one goes on. All in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection, CursorResult, Table, func, select
from sqlalchemy.dialects.postgresql import insert

from retention.audience.scores import bg_nbd, gamma_gamma
from retention.audience.scores.bg_nbd import Grouped, PurchaseFit, Purchasing
from retention.audience.scores.gamma_gamma import SpendFit, Spending
from retention.journey.scores import Scores
from retention.store.queries import run
from retention.store.staging import analyze
from retention.store.tables import purchase_models, spend_models


@dataclass(frozen=True)
class ValueRules:
    """When a fit is refused, and what a later purchase is worth less: `discount_rate` a year."""

    min_customers: int = 300
    min_repeaters: int = 50
    min_spenders: int = 50
    most_correlated: float = gamma_gamma.MOST_CORRELATED
    discount_rate: float = 0.10

    @classmethod
    def of(cls, scores: Scores) -> ValueRules:
        """As include/scores.yaml says."""
        return cls(**scores.lifetime_value.model_dump())


@dataclass(frozen=True)
class Fitted:
    """What a fit found, of the purchases and of the amounts in each currency."""

    purchases: PurchaseFit
    spends: dict[str, SpendFit]


@dataclass(frozen=True)
class Models:
    """The last good models as of an instant."""

    purchases: Purchasing
    purchase_model_id: int | None = None
    spends: dict[str, Spending] = field(default_factory=dict)
    spend_model_ids: tuple[int, ...] = ()


def is_fit_due(conn: Connection, as_of: datetime, zone: str) -> bool:
    """Whether nobody has tried a fit in the month (of `zone`) of `as_of`."""
    begin = as_of.astimezone(ZoneInfo(zone)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    tried = select(func.count()).where(purchase_models.c.as_of.between(begin, as_of))
    return conn.scalar(tried) == 0


def fit_models(
    conn: Connection, as_of: datetime, *, zone: str, known_at: datetime | None = None, rules: ValueRules | None = None
) -> Fitted:
    """Fit to the purchases as of an instant and keep what came of it; a good fit of the same instant stays as it is."""
    rules, known_at = rules or ValueRules(), known_at or as_of
    sum_purchases(conn, as_of, zone=zone, known_at=known_at)
    fitted = fit_sums(conn, rules)
    dates = {"as_of": as_of, "known_at": known_at}
    fit = fitted.purchases
    _keep(
        conn,
        purchase_models,
        ["as_of"],
        {
            **dates,
            "zone": zone,
            "customers": fit.customers,
            "repeaters": fit.repeaters,
            "log_likelihood": fit.log_likelihood,
            "refusal": fit.refusal,
            **(asdict(fit.parameters) if fit.parameters else dict.fromkeys(("r", "alpha", "a", "b"))),
        },
    )
    for currency, spend in fitted.spends.items():
        row = {
            **dates,
            "currency": currency,
            "customers": spend.customers,
            "correlation": spend.correlation,
            "log_likelihood": spend.log_likelihood,
            "refusal": spend.refusal,
            **(asdict(spend.parameters) if spend.parameters else dict.fromkeys(("p", "q", "v"))),
        }
        _keep(conn, spend_models, ["as_of", "currency"], row)
    return fitted


def _keep(conn: Connection, table: Table, key: list[str], row: dict) -> None:
    new = insert(table).values(row)
    conn.execute(new.on_conflict_do_update(index_elements=key, set_=row, where=table.c.refusal.is_not(None)))


def sum_purchases(
    conn: Connection, as_of: datetime, *, zone: str, known_at: datetime, customers: Sequence[str] | None = None
) -> None:
    """Make the temporary table purchase_sums of this transaction anew."""
    only = list(customers) if customers is not None else None
    drop_temporary(conn, "purchase_sums")
    conn.exec_driver_sql("set local work_mem = '64MB'")  # else ten million orders are sorted in a hundred pieces
    run(conn, "score/make_purchase_sums", as_of=as_of, known_at=known_at, zone=zone, customers=only)
    analyze(conn, "purchase_sums")


def fit_sums(conn: Connection, rules: ValueRules) -> Fitted:
    """Fit to purchase_sums; keeps nothing."""
    groups = columns_of(run(conn, "score/group_purchases"), 4)
    purchases = bg_nbd.fit(
        Grouped(*(column.astype(np.int64) for column in groups)),
        min_customers=rules.min_customers,
        min_repeaters=rules.min_repeaters,
    )
    currency, times, mean = columns_of(run(conn, "score/list_spends"), 3)
    spends = {}
    for name in dict.fromkeys(currency.tolist()):
        rows = currency == name
        spends[name] = gamma_gamma.fit(
            times[rows].astype(float),
            mean[rows].astype(float),
            min_customers=rules.min_spenders,
            most_correlated=rules.most_correlated,
        )
    return Fitted(purchases, spends)


def read_models(conn: Connection, as_of: datetime, known_at: datetime | None = None) -> Models | None:
    """The last good models as of an instant; None: there never was one of the purchases."""
    rows = run(conn, "score/good_models", as_of=as_of, known_at=known_at or as_of).all()
    purchases = [row for row in rows if row.kind == "purchases"]
    if not purchases:
        return None
    spends = [row for row in rows if row.kind == "spends"]
    return Models(
        Purchasing(*purchases[0].parameters),
        purchases[0].model_id,
        {row.currency: Spending(*row.parameters) for row in spends},
        tuple(row.model_id for row in spends),
    )


def columns_of(result: CursorResult, count: int) -> list[np.ndarray]:
    """The first `count` columns of a result."""
    rows = result.all()
    return [np.array([row[i] for row in rows]) for i in range(count)]


def drop_temporary(conn: Connection, table: str) -> None:
    """Make room: several looks may share a transaction."""
    conn.exec_driver_sql(f"drop table if exists pg_temp.{table}")
