"""The whole sample, put together from its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256

import numpy as np

from retention.store.sample.behaviour import draw_events
from retention.store.sample.orders import draw_items, draw_status
from retention.store.sample.people import draw_people
from retention.store.sample.period import Period
from retention.store.sample.permissions import draw_consents, draw_suppressions
from retention.store.sample.purchases import draw_purchases

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Sample:
    """`tables`: table name -> column name -> values, all columns of a table of one length, in the order of loading.

    Instants are `datetime64[s]` in UTC, amounts `Decimal`, JSON columns texts, an absent value None.
    """

    period: Period
    tables: Mapping[str, Columns]

    @property
    def counts(self) -> dict[str, int]:
        """Rows by table."""
        return {table: len(next(iter(columns.values()))) for table, columns in self.tables.items()}

    def digest(self) -> str:
        """A SHA-256 over every value: equal samples, equal digests."""
        sha = sha256()
        for table, columns in self.tables.items():
            for name, values in columns.items():
                sha.update(f"{table}.{name}:{values.tolist()}".encode())
        return sha.hexdigest()


def generate(customers: int, seed: int, today: date, timezone: str = "Asia/Shanghai") -> Sample:
    """Two years of a shop with that many customers, ending at the midnight that begins `today` in `timezone`.

    Nothing in it happened or was recorded later than that. The same arguments give the same sample, value for value
    (with the locked versions of numpy and Faker). Ids begin at C000001 and O0000001, events have source keys
    `sample:<n>`.
    """
    if customers < 0:
        raise ValueError(f"customers: {customers} is no number of people. Give 0 or more.")
    period = Period(today, timezone)
    people = draw_people(customers, seed, period)
    purchases = draw_purchases(people, seed)
    status, delivered = draw_status(people, purchases, seed, period)
    items, category = draw_items(people, purchases, seed, period)
    return Sample(
        period,
        {
            "customers": people.columns,
            "orders": purchases.columns(people, period),
            "order_status": status,
            "order_items": items,
            "events": draw_events(people, purchases, delivered, category, seed, period),
            "consents": draw_consents(people, seed, period),
            "suppressions": draw_suppressions(people, seed, period),
        },
    )
