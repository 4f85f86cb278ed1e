"""How long scores take beside the query that everybody writes: three ntile(5) over the raw orders, in one run on one machine.

    .venv/bin/python benchmarks/scores.py                              a million customers, ten million orders
    .venv/bin/python benchmarks/scores.py --customers 100000 --orders 1000000 --json

Everything happens in an embedded server of the product's own settings, in a folder that goes with the run. Orders of two
years in the order of time, skewed to good customers; 2 % in another currency, 0.5 % negative, 5 % cancelled or refunded
after three days, a state `paid` for each; visits of four events each over the last 90 days. Then a day passes: --new-orders,
--new-events, and what leaves the windows.

ntile is timed as it stands (`work_mem` of the server) and with the memory that a rebuild gives itself: the ratio to both is
shown. Runs go by turns, `--pairs` times: ntile, rebuild, ntile with memory. A refresh can be timed once a day: each pair is
another day. `memory`: the largest sum of private memory of the server's processes while the rebuild and the refresh ran.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psutil
from sqlalchemy import Connection, Engine, create_engine, text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "plugins"))

from retention.audience.scores import Refreshed, refresh_scores
from retention.store.embedded import hold
from retention.store.migrate import migrate

DAY = timedelta(days=1)
START = datetime(2026, 12, 1, tzinfo=UTC)

NTILE = """
select count(*), sum(r + f + m) from (
    select customer_id, ntile(5) over (order by max(occurred_at)) as r, ntile(5) over (order by count(*)) as f,
           ntile(5) over (order by sum(amount)) as m
    from orders group by customer_id) as scored
"""

CUSTOMERS = """
insert into customers (customer_id, occurred_at, recorded_at)
select 'C' || lpad(n::text, 8, '0'), at, at
from (select n, timestamptz '2024-11-30' - (1 - n::float8 / :customers) * interval '400 days' as at
      from generate_series(1, :customers) as n) as drawn
"""

ORDERS = """
insert into orders (order_id, customer_id, amount, currency, occurred_at, recorded_at)
select 'O' || :run || lpad(n::text, 9, '0'),
       'C' || lpad((1 + floor(power(random(), 1.4) * :customers))::int::text, 8, '0'),
       round((case when random() < 0.005 then -1 else 1 end * exp(4 + random_normal()))::numeric, 2),
       case when random() < 0.02 then 'USD' else 'CNY' end, at, at + interval '20 seconds'
from (select n, cast(:until as timestamptz) - interval '1 minute'
                - (1 - n::float8 / :count) * cast(:span as interval) as at
      from generate_series(1, :count) as n) as drawn
"""

PAID = """
insert into order_status (order_id, status, occurred_at, recorded_at)
select order_id, 'paid', occurred_at + interval '30 seconds', recorded_at + interval '30 seconds'
from orders where occurred_at > :after
"""

UNDONE = """
insert into order_status (order_id, status, occurred_at, recorded_at)
select order_id, case when hashtext(order_id) % 3 = 0 then 'refunded' else 'cancelled' end, occurred_at + interval '3 days',
       occurred_at + interval '3 days'
from orders
where hashtext(order_id) % 20 = 0 and occurred_at > :after - interval '3 days' and occurred_at <= :until - interval '3 days'
"""

EVENTS = """
insert into events (customer_id, kind, occurred_at, recorded_at, source_key)
select 'C' || lpad(c::text, 8, '0'), kind, at + nth * interval '1 minute', at + nth * interval '1 minute',
       :run || '.' || s || '.' || nth
from (select s, 1 + floor(power(random(), 1.4) * :customers)::int as c,
             cast(:until as timestamptz) - interval '5 minutes' - (1 - s::float8 / :visits) * cast(:span as interval) as at
      from generate_series(1, :visits) as s) as visit
cross join lateral (values (1, 'login'), (2, 'view'), (3, 'view'),
                           (4, case s % 20 when 0 then 'participation' when 1 then 'community' when 2 then 'review'
                               else 'cart' end)) as event (nth, kind)
"""


def add_facts(
    engine: Engine, run: str, customers: int, orders: int, events: int, after: datetime, until: datetime
) -> None:
    """Facts of a span of time; orders since `after` (visits of at most the last 90 days), known at once."""
    visits_after = max(after, until - 90 * DAY)
    with engine.begin() as conn:
        said = {"run": run, "customers": customers, "until": until}
        conn.execute(text(ORDERS), said | {"count": orders, "span": until - after})
        conn.execute(text(PAID), {"after": after})
        conn.execute(text(UNDONE), {"after": after, "until": until})
        conn.execute(text(EVENTS), said | {"visits": max(events // 4, 1), "span": until - visits_after})


def vacuum(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("vacuum analyze"))
        conn.execute(text("checkpoint"))


def time_ntile(engine: Engine, work_mem: str | None = None) -> float:
    with engine.connect() as conn:
        if work_mem:
            conn.execute(text(f"set local work_mem = '{work_mem}'"))
        began = time.perf_counter()
        conn.execute(text(NTILE)).all()
        return time.perf_counter() - began


def time_scores(engine: Engine, as_of: datetime, **how: bool) -> tuple[float, Refreshed]:
    began = time.perf_counter()
    done = refresh_scores(engine, as_of, now=as_of, **how)
    return time.perf_counter() - began, done


class Memory:
    """The most private memory (USS) that the processes of a server had together, looked at four times a second."""

    def __init__(self, conn: Connection):
        leader = psutil.Process(conn.scalar(text("select pg_backend_pid()")))
        self._postmaster = leader.parent()
        self.most_mb = 0.0
        self._is_done = threading.Event()

    def __enter__(self) -> Memory:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._is_done.wait(0.25):
            used = 0
            for process in self._postmaster.children():
                try:
                    used += process.memory_full_info().uss
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    pass
            self.most_mb = max(self.most_mb, used / 2**20)

    def __exit__(self, *_: object) -> None:
        self._is_done.set()
        self._thread.join()


def measure(engine: Engine, asked: argparse.Namespace, say) -> dict:
    add_facts(engine, "0", asked.customers, asked.orders, asked.events, START - 730 * DAY, START)
    vacuum(engine)
    say(f"{asked.customers:,} customers, {asked.orders:,} orders, {asked.events:,} events made")
    found: dict[str, list] = {
        name: [] for name in ("ntile_s", "ntile_with_memory_s", "rebuild_s", "refresh_s", "touched")
    }
    first, done = time_scores(engine, START)
    found["first_s"] = round(first, 2)
    say(f"first run, into empty tables: {first:.1f} s, {done.customers:,} customers")
    at = START
    with engine.connect() as watch:
        for pair in range(asked.pairs):
            add_facts(engine, str(pair + 1), asked.customers, asked.new_orders, asked.new_events, at, at + DAY)
            at += DAY
            vacuum(engine)
            with Memory(watch) as memory:
                took, done = time_scores(engine, at)
            found["refresh_s"].append(round(took, 2))
            found["touched"].append(done.touched)
            found["refresh_mb"] = round(memory.most_mb)
            say(
                f"refresh: {took:.1f} s, {done.touched:,} customers touched, {done.moved:,} moved, {memory.most_mb:.0f} MB"
            )
            found["ntile_s"].append(round(time_ntile(engine), 2))
            vacuum(engine)
            with Memory(watch) as memory:
                took, _ = time_scores(engine, at + timedelta(seconds=1), rebuild=True)
            found["rebuild_s"].append(round(took, 2))
            found["rebuild_mb"] = round(memory.most_mb)
            found["ntile_with_memory_s"].append(round(time_ntile(engine, "256MB"), 2))
            say(f"ntile: {found['ntile_s'][-1]} s ({found['ntile_with_memory_s'][-1]} s with memory), rebuild: {took:.1f} s, "
                f"{memory.most_mb:.0f} MB")  # fmt: skip
    ratio = lambda a, b: round(median(x / y for x, y in zip(found[a], found[b], strict=True)), 2)  # noqa: E731
    return found | {
        "rebuild_to_ntile": ratio("rebuild_s", "ntile_s"),
        "rebuild_to_ntile_with_memory": ratio("rebuild_s", "ntile_with_memory_s"),
        "refresh_to_rebuild": ratio("refresh_s", "rebuild_s"),
    }


def main() -> None:
    options = argparse.ArgumentParser(description="Scores beside three ntile(5) over the raw orders.")
    options.add_argument("--customers", type=int, default=1_000_000)
    options.add_argument("--orders", type=int, default=10_000_000)
    options.add_argument("--events", type=int, default=6_000_000, help="of the last 90 days")
    options.add_argument("--new-orders", type=int, default=30_000)
    options.add_argument("--new-events", type=int, default=200_000)
    options.add_argument("--pairs", type=int, default=2)
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    say = (lambda *words: None) if asked.json else (lambda *words: print(*words, flush=True))
    with tempfile.TemporaryDirectory(prefix="rt-bench-") as folder, hold(Path(folder) / "home") as server:
        url = server.url("retention")
        migrate(url)
        engine = create_engine(url, connect_args={"options": "-c timezone=UTC"})
        with engine.begin() as conn:
            conn.execute(text("select setseed(0.7)"))
            conn.execute(text(CUSTOMERS), {"customers": asked.customers})
        found = measure(engine, asked, say)
        engine.dispose()
    ratios = {name: value for name, value in found.items() if "_to_" in name}
    print(json.dumps(found, indent=2) if asked.json else "  ".join(f"{name} {value}" for name, value in ratios.items()))


if __name__ == "__main__":
    main()
