"""Who would enter the shipped journeys on real tables, held against pandas over the raw files."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from sqlalchemy import text

from retention.audience.select import fetch_audience
from tests.intake.conftest import shared
from tests.world import INCLUDE

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture
def ask(engine):
    def ask(audience: str, day: date, window_days: int) -> dict[str, str]:
        """customer -> occurrence, at noon of that day; orders of both files are of a day."""
        sql = (INCLUDE / "sql" / "audiences" / f"{audience}.sql").read_text(encoding="utf-8")
        as_of = datetime(day.year, day.month, day.day, 12, tzinfo=NEW_YORK)
        with engine.begin() as conn:
            conn.execute(text("create temporary table found (customer_id text, occurrence text) on commit drop"))
            fetch_audience(
                conn, audience, sql, as_of=as_of, known_at=datetime(2030, 1, 1, tzinfo=NEW_YORK),
                window_start=as_of - timedelta(days=window_days), zone="America/New_York", into="found",
            )  # fmt: skip
            return dict(map(tuple, conn.execute(text("select customer_id, occurrence from found"))))

    return ask


def read_cdnow(bring) -> pd.DataFrame:
    """A row an order: customer, order, day."""
    path = shared("cdnow/CDNOW_master.txt")
    bring(path, "cdnow", is_history=True)
    raw = pd.read_csv(path, sep=r"\s+", skiprows=1, names=["id", "date", "number", "amount"], dtype=str)
    return pd.DataFrame(
        {
            "customer": "cdnow-" + raw.id,
            "order": "cdnow-" + (raw.index + 2).astype(str),
            "day": pd.to_datetime(raw.date, format="%Y%m%d").dt.date,
        }
    )


def read_adventureworks(bring) -> pd.DataFrame:
    bring(shared("adventureworks/AdventureWorks_Customers.csv"), "adventureworks_customers", is_history=True)
    paths = sorted(shared("adventureworks/AdventureWorks_Products.csv").parent.glob("*Sales*.csv"))
    for path in paths:
        bring(path, "adventureworks_sales", is_history=True)
    raw = pd.concat(pd.read_csv(path, dtype=str) for path in paths)
    lines = pd.DataFrame(
        {
            "customer": raw.CustomerKey,
            "order": raw.OrderNumber,
            "day": pd.to_datetime(raw.OrderDate, format="%m/%d/%Y").dt.date,
        }
    )
    return lines.drop_duplicates("order")


SHOPS = {
    "cdnow": (
        read_cdnow,
        [date(1997, 1, 15), date(1997, 2, 20), date(1997, 3, 20)],
        [date(1997, 7, 1), date(1997, 12, 25), date(1998, 6, 15)],
    ),
    "adventureworks": (
        read_adventureworks,
        [date(2018, 3, 1), date(2018, 12, 24), date(2019, 6, 28)],
        [date(2017, 9, 1), date(2018, 10, 15), date(2019, 6, 1)],
    ),
}
"""How a shop comes in, and the days on which its new and its dormant customers are counted."""


@pytest.mark.parametrize("shop", SHOPS)
def test_who_would_enter_is_who_the_files_say(bring, ask, shop):
    read, camp_days, dormant_days = SHOPS[shop]
    orders = read(bring)
    for day in camp_days:
        first = orders.groupby("customer").day.min()
        new = set(first[(first <= day) & (first > day - timedelta(days=2))].index)
        found = ask("first_order_received", day, 2)
        assert len(new) > 10 and set(found) == new, day
        first_orders = orders[orders.customer.isin(new) & (orders.day == orders.customer.map(first))]
        assert set(found.values()) <= {f"first_order:{each}" for each in first_orders.order}
    for day in dormant_days:
        last = orders[orders.day <= day].groupby("customer").day.max()
        quiet = set(last[(last <= day - timedelta(days=90)) & (last > day - timedelta(days=93))].index)
        assert len(quiet) > 10 and set(ask("dormant_90_days", day, 3)) == quiet, day
