"""How long `retention import` takes beside a bare COPY of the same files, in one run on one machine.

    make bench-load                              a million customers, ten million orders, then a day's 30,000 orders
    .venv/bin/python benchmarks/load.py --customers 100000 --orders 1000000 --json

The files are made first. Then, by turns: COPY into a plain table without any index (the raw limit); COPY into the same
table and building the indexes that our tables have (what a load has to do at least); `retention import`, as a process of its
own, so that its memory is its own. Everything happens in an embedded server of the product's own settings, in a folder that
goes with the run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from sqlalchemy import Connection, create_engine, text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "plugins"))

from retention.store.embedded import hold  # noqa: E402
from retention.store.migrate import migrate  # noqa: E402
from retention.store.staging import copy_csv  # noqa: E402

FIRST = datetime(2023, 1, 1)
DAYS = 3 * 365

MAPPINGS = {
    "customers": """mapping: customers
source: bench
timezone: Asia/Shanghai
rows:
  - into: customers
    customer_id: customer_id
    name: name
    email: email
    phone: phone
    birthday: birthday
    locale: locale
    occurred_at: created_at
""",
    "orders": """mapping: orders
source: bench
timezone: Asia/Shanghai
rows:
  - into: orders
    order_id: order_id
    customer_id: customer_id
    occurred_at: ordered_at
    amount: amount
    currency: {value: CNY}
""",
}

PLAIN = {
    "customers": "customer_id text, name text, email text, phone text, birthday date, locale text, created_at timestamp",
    "orders": "order_id text, customer_id text, ordered_at timestamp, amount numeric",
}
INDEXES = {
    "customers": ("create unique index on {} (customer_id)", "create index on {} (birthday)"),
    "orders": ("create unique index on {} (order_id)", "create index on {} (customer_id, ordered_at)"),
}


def make_customers(count: int, rng: np.random.Generator) -> pl.DataFrame:
    ids = pl.Series(np.arange(1, count + 1))
    frame = pl.DataFrame({"n": ids, "phone": pl.Series(rng.permutation(count))}).with_columns(
        pl.lit(FIRST).dt.offset_by("-20000d").dt.date().alias("epoch"),
        pl.Series("age", rng.integers(0, 15000, count)),
        pl.Series("at", rng.integers(0, DAYS * 86400, count)),
    )
    return frame.select(
        pl.format("C{}", pl.col("n").cast(pl.String).str.zfill(8)).alias("customer_id"),
        pl.format("Name {}", "n").alias("name"),
        pl.format("name.{}@example.com", "n").alias("email"),
        pl.format("+86154{}", pl.col("phone").cast(pl.String).str.zfill(8)).alias("phone"),
        (pl.col("epoch") + pl.duration(days="age")).dt.strftime("%Y-%m-%d").alias("birthday"),
        pl.lit("zh-CN").alias("locale"),
        (pl.lit(FIRST) + pl.duration(seconds="at")).dt.strftime("%Y-%m-%d %H:%M:%S").alias("created_at"),
    )


def make_orders(
    first: int, count: int, customers: int, from_day: int, days: int, rng: np.random.Generator
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "n": np.arange(first, first + count),
            "c": rng.integers(1, customers + 1, count),
            "at": np.sort(rng.integers(from_day * 86400, (from_day + days) * 86400, count)),
            "amount": rng.gamma(2, 50, count).round(2),
        }
    ).select(
        pl.format("O{}", pl.col("n").cast(pl.String).str.zfill(9)).alias("order_id"),
        pl.format("C{}", pl.col("c").cast(pl.String).str.zfill(8)).alias("customer_id"),
        (pl.lit(FIRST) + pl.duration(seconds="at")).dt.strftime("%Y-%m-%d %H:%M:%S").alias("ordered_at"),
        "amount",
    )


def make_files(folder: Path, customers: int, orders: int) -> None:
    """The two files, and the next day's orders: new ones, and a few of before with another amount."""
    rng = np.random.default_rng(7)
    make_customers(customers, rng).write_csv(folder / "customers.csv")
    made = make_orders(1, orders, customers, 0, DAYS, rng)
    made.write_csv(folder / "orders.csv")
    fresh = make_orders(orders + 1, 29_000, customers, DAYS, 1, rng)
    corrected = made.sample(1000, seed=1).with_columns((pl.col("amount") + 1).round(2))
    pl.concat([fresh, corrected]).write_csv(folder / "day.csv")


def copy_bare(conn: Connection, table: str, path: Path, *, is_indexed: bool) -> tuple[float, float]:
    """Seconds for COPY into a new plain table, and for building its indexes."""
    conn.execute(text(f"drop table if exists bare_{table}"))
    conn.commit()
    began = time.perf_counter()
    conn.execute(text(f"create table bare_{table} ({PLAIN[table]})"))
    copy_file(conn, f"bare_{table}", PLAIN[table], path)
    copied = time.perf_counter() - began
    for index in INDEXES[table] if is_indexed else ():
        conn.execute(text(index.format(f"bare_{table}")))
    conn.commit()
    return copied, time.perf_counter() - began - copied


def copy_file(conn: Connection, table: str, columns: str, path: Path) -> None:
    names = [column.split()[0] for column in columns.split(", ")]
    with path.open("rb") as file:
        file.readline()
        rest = b""
        while piece := file.read(4 << 20):
            piece = rest + piece
            end = piece.rfind(b"\n") + 1
            copy_csv(conn, table, names, piece[:end])
            rest = piece[end:]


def run_import(folder: Path, file: str, mapping: str, environment: dict) -> tuple[float, float, dict]:
    """Seconds, peak memory in MB and what it said, of `retention import` in a process of its own."""
    came = folder / "came.json"
    arguments = ["import", str(folder / file), "--map", str(folder / f"{mapping}.yaml"), "--json"]
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(came, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.execve(ROOT / ".venv" / "bin" / "retention", ["retention", *arguments], {**os.environ, **environment})
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"retention import {file} failed")
    return seconds, usage.ru_maxrss / 1024, json.loads(came.read_text())[0]


def main() -> None:
    options = argparse.ArgumentParser(description="Loads beside bare COPY.")
    options.add_argument("--customers", type=int, default=1_000_000)
    options.add_argument("--orders", type=int, default=10_000_000)
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    say = (lambda *words: None) if asked.json else print
    with tempfile.TemporaryDirectory(prefix="rt-bench-") as name:
        folder = Path(name)
        say(f"making the files ({asked.customers:,} customers, {asked.orders:,} orders)")
        make_files(folder, asked.customers, asked.orders)
        for mapping, words in MAPPINGS.items():
            (folder / f"{mapping}.yaml").write_text(words)
        with hold(folder / "home") as server:
            url = server.url("retention")
            migrate(url)
            figures = measure(folder, url, {"RETENTION_HOME": str(folder / "home")}, say)
    print(json.dumps(figures, indent=2)) if asked.json else show(figures)


def measure(folder: Path, url: str, environment: dict, say) -> dict:
    engine = create_engine(url, connect_args={"options": "-c timezone=UTC"})
    with engine.connect() as conn:
        bare, built, ours, memory = {}, {}, {}, {}
        for table in ("customers", "orders"):
            say(f"COPY {table}")
            first, indexes = copy_bare(conn, table, folder / f"{table}.csv", is_indexed=True)
            say(f"retention import {table}")
            ours[table], memory[table], said = run_import(folder, f"{table}.csv", table, environment)
            assert said["rows_rejected"] == said["cells_left_out"] == 0, said
            say(f"COPY {table}, again")
            second, _ = copy_bare(conn, table, folder / f"{table}.csv", is_indexed=False)
            bare[table], built[table] = (first + second) / 2, indexes
        say("the next day's orders")
        conn.execute(text(INDEXES["orders"][0].format("bare_orders")))
        conn.execute(text(INDEXES["orders"][1].format("bare_orders")))
        conn.execute(text("create table bare_day (like bare_orders)"))
        conn.commit()
        began = time.perf_counter()
        copy_file(conn, "bare_day", PLAIN["orders"], folder / "day.csv")
        conn.commit()
        day_bare = time.perf_counter() - began
        day, day_memory, said = run_import(folder, "day.csv", "orders", environment)
        assert said["tables"]["orders"]["new"] == 29_000 and said["tables"]["orders"]["changed"] == 1_000, said
        say("the same orders once more: nothing changes")
        again, _, said = run_import(folder, "orders.csv", "orders", environment)
        assert said["tables"]["orders"]["new"] == 0, said
        rows = {table: conn.scalar(text(f"select count(*) from {table}")) for table in ("customers", "orders")}
    copied, complete, took = sum(bare.values()), sum(bare.values()) + sum(built.values()), sum(ours.values())
    return {
        "rows": rows,
        "copy_s": {table: round(seconds, 1) for table, seconds in bare.items()},
        "indexes_s": {table: round(seconds, 1) for table, seconds in built.items()},
        "import_s": {table: round(seconds, 1) for table, seconds in ours.items()},
        "ratio_copy": round(took / copied, 2),
        "ratio_copy_and_indexes": round(took / complete, 2),
        "rows_per_s": round(sum(rows.values()) / took),
        "peak_rss_mb": {table: round(megabytes) for table, megabytes in memory.items()},
        "day": {
            "rows": 30_000,
            "import_s": round(day, 1),
            "copy_s": round(day_bare, 2),
            "peak_rss_mb": round(day_memory),
        },
        "same_again_s": round(again, 1),
    }


def show(figures: dict) -> None:
    print()
    for table in ("customers", "orders"):
        print(
            f"{table:10} {figures['rows'][table]:>12,} rows   COPY {figures['copy_s'][table]:6.1f} s   "
            f"its indexes {figures['indexes_s'][table]:6.1f} s   retention import {figures['import_s'][table]:6.1f} s   "
            f"{figures['peak_rss_mb'][table]:,} MB"
        )
    print(
        f"together: {figures['ratio_copy']} times COPY alone, {figures['ratio_copy_and_indexes']} times COPY and indexes, "
        f"{figures['rows_per_s']:,} rows/s"
    )
    day = figures["day"]
    print(f"a day's {day['rows']:,} orders into that: {day['import_s']} s ({day['peak_rss_mb']} MB)")
    print(f"the same orders once more, nothing new: {figures['same_again_s']} s")


if __name__ == "__main__":
    main()
