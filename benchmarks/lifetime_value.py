"""How long lifetime value takes for a million customers with ten million orders: sums, fits, values of all, a day's refresh.

    .venv/bin/python benchmarks/lifetime_value.py                          a million customers, ten million orders
    .venv/bin/python benchmarks/lifetime_value.py --customers 100000       a tenth of it

An embedded server of the product's own settings, in a folder that goes with the run. Beside each part, for its measure, the
usual RFM question over the raw orders (three ntile(5) in one statement), in the same run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import polars as pl
from sqlalchemy import create_engine, text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "plugins"))

from retention.audience.scores import lifetime_value, value_models
from retention.audience.scores.calibration import calibrate_purchases
from retention.store.embedded import hold
from retention.store.migrate import migrate
from retention.store.staging import copy_csv

NOW = datetime(2026, 12, 1, 6, tzinfo=UTC)
BEGIN = datetime(2023, 12, 1, tzinfo=UTC).timestamp()
SPAN = NOW.timestamp() - BEGIN - 3600
WEEK = 7 * 86400

STATES = """
insert into order_status (order_id, status, occurred_at, recorded_at)
select order_id, 'paid', occurred_at, recorded_at from orders;
insert into order_status (order_id, status, occurred_at, recorded_at)
select order_id, case when random() < 0.67 then 'cancelled' else 'refunded' end, occurred_at + interval '1 day',
       occurred_at + interval '1 day'
from orders where random() < 0.03;
analyze orders;
analyze order_status
"""

MORE = """
insert into orders (order_id, customer_id, amount, currency, occurred_at, recorded_at)
select 'N' || n, 'C' || lpad((1 + floor(random() * :customers))::int::text, 8, '0'), 88, 'CNY',
       timestamptz '2026-12-01 07:00' + random() * interval '20 hours', timestamptz '2026-12-02 05:00'
from generate_series(1, :orders) as n
"""

NTILE = """
select count(*), sum(r * f * m) from (
    select customer_id, ntile(5) over (order by max(occurred_at)) as r, ntile(5) over (order by count(*)) as f,
           ntile(5) over (order by sum(amount)) as m
    from orders group by customer_id) as scored
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rt-value-") as folder:
        held = hold(Path(folder))
        try:
            measure(held.url("bench"), options.customers)
        finally:
            held.release()


def draw(customers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Purchases as the models have them: who, when (seconds after BEGIN), how much."""
    random = np.random.default_rng(7)
    rate = random.gamma(0.9, 1 / 6.0, customers) / WEEK
    leaves = random.beta(1.2, 20.0, customers)
    mean = random.gamma(4.0, 1.0, customers)
    at = random.uniform(0, 1000 * 86400, customers)
    who = np.arange(customers)
    people, moments, amounts = [], [], []
    while len(who):
        people.append(who)
        moments.append(at)
        amounts.append(np.round(random.gamma(6.0, 100 / mean[who]), 2))
        stays = random.random(len(who)) >= (leaves[who] if len(people) > 1 else 0)
        at = at + random.exponential(1.0, len(who)) / np.maximum(rate[who], 1e-12)
        stays &= at < SPAN
        who, at = who[stays], at[stays]
    return np.concatenate(people), np.concatenate(moments), np.concatenate(amounts)


def measure(url: str, customers: int) -> None:
    migrate(url)
    engine = create_engine(url, connect_args={"options": "-c timezone=UTC"})

    def timed(what: str, work) -> None:
        begin = time.perf_counter()
        with engine.begin() as conn:
            shown = work(conn)
        print(f"{time.perf_counter() - begin:8.1f} s  {what}: {shown}", flush=True)

    def world(conn) -> str:
        people, moments, amounts = draw(customers)
        order = np.argsort(moments, kind="stable")
        for part in np.array_split(order, max(1, len(order) // 500_000)):
            at = pl.Series(((moments[part] + BEGIN) * 1e6).astype(np.int64)).cast(pl.Datetime("us", "UTC"))
            who = pl.Series(people[part]).cast(pl.String).str.zfill(8)
            key = pl.Series(part).cast(pl.String)
            frame = pl.DataFrame({"o": "O" + key, "c": "C" + who, "a": amounts[part], "at": at, "known": at})
            columns = ("order_id", "customer_id", "amount", "occurred_at", "recorded_at", "currency")
            rows = frame.with_columns(currency=pl.lit("CNY")).write_csv(include_header=False)
            copy_csv(conn, "orders", columns, rows.encode())
        for statement in STATES.split(";\n"):
            conn.execute(text(statement))
        return f"{len(people):,} orders"

    def more(conn) -> str:
        conn.execute(text(MORE), {"customers": customers, "orders": customers * 3 // 100})
        return "the next day's orders"

    def sums(conn) -> str:
        value_models.sum_purchases(conn, NOW, zone="Asia/Shanghai", known_at=NOW)
        return f"{conn.scalar(text('select count(*) from purchase_sums')):,} customers"

    def fits(conn) -> str:
        begin = time.perf_counter()
        value_models.sum_purchases(conn, NOW, zone="Asia/Shanghai", known_at=NOW)
        middle = time.perf_counter()
        value_models.fit_sums(conn, value_models.ValueRules())
        return f"of it the sums {middle - begin:.1f}, the fits {time.perf_counter() - middle:.1f}"

    later = NOW + timedelta(days=1)
    timed("the world", world)
    timed("ntile(5), three times, over the raw orders", lambda conn: conn.execute(text(NTILE)).one()[0])
    timed("sums", sums)
    timed("sums and fits", fits)
    timed("fit_models", lambda conn: value_models.fit_models(conn, NOW, zone="Asia/Shanghai"))
    timed("refresh_values, everybody", lambda conn: lifetime_value.refresh_values(conn, NOW, zone="Asia/Shanghai"))
    timed("more", more)
    timed("refresh_values, a day later", lambda conn: lifetime_value.refresh_values(conn, later, zone="Asia/Shanghai"))
    then = NOW - timedelta(days=180)
    timed("calibration of half a year", lambda conn: calibrate_purchases(conn, then, until=NOW, zone="Asia/Shanghai").top_lift)
    view = "select set_config('retention.as_of', :at, true), set_config('retention.known_at', :at, true)"

    def read(conn) -> str:
        conn.execute(text(view), {"at": later.isoformat()})
        return conn.execute(text("select count(*), sum(value), avg(p_alive) from as_of.customer_values")).one()

    timed("reading the view", read)
    print(f"memory of this process: {getrusage(RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
