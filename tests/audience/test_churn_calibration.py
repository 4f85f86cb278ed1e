"""The scorecard of churn on real purchases, held against what came after: what it foretold has to be commoner than chance."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention.audience.scores.calibration import list_calibrations
from retention.audience.scores.churn import calibrate_churn, score_churn

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def read_cdnow():
    for n, line in enumerate((DATA / "cdnow" / "CDNOW_sample.txt").read_text().splitlines()):
        _, customer, day, _, _ = line.split()
        yield f"O{n}", str(int(customer)), datetime.strptime(day, "%Y%m%d")


def read_adventureworks():
    orders = {}
    for year in (2017, 2018, 2019):
        with (DATA / "adventureworks" / f"AdventureWorks_Sales_{year}.csv").open(
            encoding="utf-8-sig", newline=""
        ) as file:
            for row in csv.DictReader(file):
                day = datetime.strptime(row["OrderDate"], "%m/%d/%Y")
                orders.setdefault(row["OrderNumber"], (row["OrderNumber"], row["CustomerKey"], day))
    return orders.values()


def bring(engine, orders) -> None:
    """Orders that were known on their day, and their customers; amounts don't matter here."""
    orders = [(key, customer, day.replace(hour=12, tzinfo=UTC)) for key, customer, day in orders]
    with engine.begin() as conn, conn.connection.cursor() as cursor:
        with cursor.copy("copy orders (order_id, customer_id, occurred_at, recorded_at) from stdin") as copy:
            for key, customer, at in orders:
                copy.write_row((key, customer, at, at))
        began = min(at for _, _, at in orders)
        with cursor.copy("copy customers (customer_id, occurred_at, recorded_at) from stdin") as copy:
            for customer in sorted({customer for _, customer, _ in orders}):
                copy.write_row((customer, began, began))


def moment(day: str) -> datetime:
    return datetime.fromisoformat(f"{day} 23:59").replace(tzinfo=UTC)


def need(folder: str) -> None:
    if not (DATA / folder).exists():
        pytest.skip(f"{DATA / folder} is missing: the tables are not part of this")


# As of, until -> everybody's interval, customers, silent until then; of the threshold `churned`: foretold, precision, recall;
# of `warning` the same; lift of the highest and of the lowest tenth.
CDNOW = {
    ("1997-06-30", "1997-12-31"): (32.0, 2357, 1738, 1907, 0.812, 0.891, 1954, 0.807, 0.907, 1.167, 0.502),
    ("1997-09-30", "1998-03-31"): (42.25, 2357, 1765, 1858, 0.836, 0.88, 1909, 0.828, 0.896, 1.205, 0.477),
    ("1997-12-31", "1998-06-30"): (51.0, 2357, 1842, 1842, 0.868, 0.868, 1896, 0.86, 0.885, 1.177, 0.545),
}
# Who comes back at all does so after 305 days: nobody is lost yet, and those who are due come. The docs say so.
ADVENTUREWORKS = {
    ("2018-12-31", "2019-06-30"): (305.0, 10559, 6909, 0, None, 0.0, 421, 0.181, 0.011, 0.214, 1.111),
}


def rounded(share):
    return None if share is None else round(share, 3)


def judge(engine, dates) -> dict:
    found = {}
    with engine.begin() as conn:
        for then, until in dates:
            usual = score_churn(conn, moment(then), zone="UTC")["usual_days"]
            it = calibrate_churn(conn, moment(then), until=moment(until), zone="UTC")
            warned = calibrate_churn(conn, moment(then), until=moment(until), zone="UTC", threshold=45)
            found[then, until] = (
                usual, it.customers, it.positives, it.foretold, rounded(it.precision), rounded(it.recall), warned.foretold,
                rounded(warned.precision), rounded(warned.recall), rounded(it.deciles[0].lift), rounded(it.deciles[-1].lift),
            )  # fmt: skip
        assert len(list_calibrations(conn, "churn")) == 2 * len(dates)
    return found


def test_cdnow(engine):
    need("cdnow")
    bring(engine, read_cdnow())
    assert judge(engine, CDNOW) == CDNOW


def test_adventureworks(engine):
    need("adventureworks")
    bring(engine, read_adventureworks())
    assert judge(engine, ADVENTUREWORKS) == ADVENTUREWORKS
