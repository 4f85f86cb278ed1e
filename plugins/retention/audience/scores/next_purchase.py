"""When somebody will buy again in a category, from their own rhythm. Owns the shrinkage; the rhythm itself is SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from retention.audience.scores.value_models import drop_temporary
from retention.store.queries import run
from retention.store.staging import analyze

WEIGHT = 3  # intervals of the customer's own that count as much as the category's
MIN_CUSTOMERS = 10


@dataclass(frozen=True)
class NextPurchase:
    """`days` is the interval `due_on` rests on: between `own_days` (of `intervals` intervals) and `usual_days`, the
    category's. `due_on` may lie in the past: then the customer is overdue."""

    customer_id: str
    category: str
    last_on: date
    intervals: int
    own_days: float | None
    usual_days: float | None
    days: float
    due_on: date


def fit_cycles(conn: Connection, as_of: datetime, *, zone: str, known_at: datetime | None = None) -> int:
    """Keep the usual interval of each category as of an instant; how many there are. Once a month is enough."""
    _sum(conn, as_of, zone, known_at or as_of, None)
    return run(conn, "score/write_cycles", as_of=as_of, known_at=known_at or as_of).rowcount


def find_next_purchases(
    conn: Connection,
    as_of: datetime,
    *,
    zone: str,
    known_at: datetime | None = None,
    customers: Sequence[str] | None = None,
    weight: int = WEIGHT,
    min_customers: int = MIN_CUSTOMERS,
) -> list[NextPurchase]:
    """The next purchases of these customers (default: all) as of an instant, by the categories' cycles kept then."""
    known_at = known_at or as_of
    _sum(conn, as_of, zone, known_at, customers)
    parameters = {"weight": weight, "min_customers": min_customers}
    rows = run(conn, "score/next_purchases", as_of=as_of, known_at=known_at, **parameters)
    return [NextPurchase(**row._mapping) for row in rows]


def _sum(conn: Connection, as_of: datetime, zone: str, known_at: datetime, customers: Sequence[str] | None) -> None:
    drop_temporary(conn, "category_sums")
    only = list(customers) if customers is not None else None
    run(conn, "score/make_category_sums", as_of=as_of, known_at=known_at, zone=zone, customers=only)
    analyze(conn, "category_sums")
