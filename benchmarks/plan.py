"""How long planning a step takes beside a bare INSERT ... SELECT of the very same rows, in one run on one machine.

    .venv/bin/python benchmarks/plan.py                                a million customers in one cohort
    .venv/bin/python benchmarks/plan.py --customers 100000 --pairs 5 --json

Everything happens in an embedded server of the product's own settings (fsync and synchronous_commit on, as Postgres has
them by default), in a folder that goes with the run. A million customers with their consents, some suppressions, orders
and events; a cohort of them all, a tenth held out, and a small one of a thousand.

For each step by turns: `plan_step`, from beginning to commit; then, into the same table emptied of it, the same rows from a
temporary table that holds them finished. Which of the two comes first changes from pair to pair, and a checkpoint before
each gives both the same start. Where the step has a coupon the bare insert of the coupons is timed, too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from sqlalchemy import Connection, create_engine, text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "plugins"))

from retention.bench.world import NO_RULES
from retention.delivery.plan import plan_step
from retention.journey.load import Version, load_version
from retention.store.embedded import hold
from retention.store.migrate import migrate
from retention.store.versions import remember

COHORT_AT = datetime(2026, 12, 1, 6, tzinfo=UTC)
STEPS = {
    "email": "the plain step: one channel",
    "channels": "two channels, the first that reaches: sms, email",
    "each": "two channels, each of them",
    "coupon": "one channel, with a coupon",
    "unused": "one channel, only_if coupon_unused, after the coupon",
    "pool": "one channel, with a code of a pool",
}

JOURNEY = """journey: bench
title: Bench
owner: bench
status: active
live: true
schedule: "0 6 * * *"
starts_on: 2026-11-01
timezone: UTC
default_locale: zh-CN
audience: everybody
entry: {window: 3d, backlog: skip, reenter_after: 300d}
holdout: 10%
goal: {event: order, within: 10d, target: 12%}
exit_when: [unsubscribed, goal_met]
steps:
  - {id: email, at: "day 0, 10:00", send: {template: note, channels: [email]}, expires: 2d}
  - {id: channels, at: "day 0, 11:00", send: {template: note, channels: [sms, email]}, expires: 2d}
  - {id: each, at: "day 0, 12:00", send: {template: note, all: [sms, email]}, expires: 2d}
  - id: coupon
    at: day 0, 13:00
    coupon: {kind: percent_off, value: 20, valid: 7d}
    send: {template: gift, channels: [email]}
    expires: 2d
  - {id: unused, at: "day 1, 14:00", only_if: coupon_unused, send: {template: gift, channels: [email]}, expires: 2d}
  - id: pool
    at: day 2, 13:00
    coupon: {kind: points, value: 20, pool: summer, valid: 7d, per_person: step}
    send: {template: gift, channels: [email]}
    expires: 2d
"""

CONTENT = {
    "shop.yaml": "name: {zh-CN: 店, en: Shop}\nwebsite: https://shop.example\n",
    "journeys/bench.yaml": JOURNEY,
    "sql/audiences/everybody.sql": "select customer_id, 'once' as occurrence from as_of.customers",
    **{
        f"templates/{name}/{file}": words
        for name, code in (("note", ""), ("gift", " {{ coupon.code }}"))
        for file, words in {
            "template.yaml": "title: Bench\npurpose: marketing\n",
            **{
                f"{way}.{locale}.{kind}": ("---\nsubject: Hello\n---\n" if kind == "html" else "")
                + "Hello"
                + code
                + "\n"
                for way, kind in (("email", "html"), ("email", "txt"), ("sms", "txt"))
                for locale in ("zh-CN", "en")
            },
        }.items()
    },
}

WORLD = """
select setseed(0.7);
insert into customers (customer_id, name, email, phone, locale, timezone, country, occurred_at, recorded_at)
select 'C' || lpad(n::text, 8, '0'), 'Name ' || n,
       case when random() < 0.95 then 'name.' || n || '@example.com' end,
       case when random() < 0.9 then '+86154' || lpad(n::text, 8, '0') end,
       case when l < 0.7 then 'zh-CN' when l < 0.9 then 'en' when l < 0.95 then 'en-GB' end, 'Asia/Shanghai', 'CN', at, at
from (select n, random() as l, timestamptz '2023-01-01' + random() * interval '1000 days' as at
      from generate_series(1, :customers) as n) as drawn;
insert into consents (customer_id, channel, purpose, is_granted, source, occurred_at, recorded_at)
select customer_id, channel, 'marketing', true, 'bench', occurred_at, recorded_at
from customers cross join (values ('email'), ('sms')) as way (channel)
where random() < 0.9;
insert into consents (customer_id, channel, purpose, is_granted, source, occurred_at, recorded_at)
select customer_id, channel, 'marketing', false, 'bench', occurred_at + interval '30 days', recorded_at + interval '30 days'
from consents
where random() < 0.03;
insert into suppressions (channel, address, is_suppressed, reason, occurred_at, recorded_at)
select way.channel, way.address, true, 'bounce', occurred_at, recorded_at
from customers cross join lateral (values ('email', email), ('sms', phone)) as way (channel, address)
where way.address is not null and random() < 0.005;
insert into orders (order_id, customer_id, amount, currency, occurred_at, recorded_at)
select 'O' || n, 'C' || lpad((1 + floor(random() * :customers))::int::text, 8, '0'), 100, 'CNY', at, at
from (select n, timestamptz '2026-06-01' + random() * interval '183 days 12 hours' as at
      from generate_series(1, :customers / 5) as n) as drawn;
insert into order_status (order_id, status, occurred_at, recorded_at)
select order_id, 'placed', occurred_at, recorded_at from orders;
insert into order_items (order_id, line, category, quantity, amount, currency, recorded_at)
select order_id, 1, 'coffee', 1, 100, 'CNY', recorded_at from orders;
"""

COHORT = """
insert into enrollments (cohort_id, mode, journey, customer_id, occurrence, arm, is_eligible, email, phone, entered_at)
select :cohort_id, 'live', 'bench', customer_id, 'round:' || :cohort_id,
       case when hashtext(customer_id || 'arm') % 10 = 0 then 'holdout' else 'main' end, true,
       as_of.usable_email(email), phone, :cohort_at
from (select * from customers order by hashtext(customer_id) limit :size) as entrants
order by customer_id
"""

POOL = """
insert into pool_codes (pool, code, added_at)
select 'summer', 'S' || upper(substr(md5(n::text), 1, 15)), timestamptz '2026-11-01'
from generate_series(1, :size + 1000) as n
"""

MESSAGE = (
    "enrollment_id, cohort_id, step, channel, attempt, role, decision, reason, address, locale, coupon_id, batch_id, "
    "due_at, not_before, not_after, planned_at"
)
BATCH = "batch_id, cohort_id, step, channel, wave, ordinal, size, state, attempts, planned_at"
COUPON = (
    "coupon_id, code, mode, enrollment_id, step, customer_id, kind, value, minimum, currency, gift, pool, pool_until, "
    "valid_until, counts_until, state, state_at, reserved_at"
)


def make_world(conn: Connection, customers: int, say) -> None:
    for statement in WORLD.split(";\n"):
        if statement.strip():
            conn.execute(text(statement), {"customers": customers} if ":customers" in statement else {})
    conn.commit()
    say("world made")


def make_cohort(conn: Connection, version: Version, size: int, day: int) -> int:
    at = COHORT_AT.replace(day=day)
    cohort_id = conn.scalar(
        text(
            "insert into cohorts (mode, journey, cohort_at, version_id, status, candidates, created_at)"
            " values ('live', 'bench', :at, :version_id, 'open', :size, :at) returning cohort_id"
        ),
        {
            "at": at,
            "version_id": remember(conn, "bench", version.content_hash, version.content, at),
            "size": size,
        },
    )
    conn.execute(text(COHORT), {"cohort_id": cohort_id, "cohort_at": at, "size": size})
    conn.commit()
    return cohort_id


def plan(conn: Connection, version: Version, cohort_id: int, step: str) -> float:
    at = conn.scalar(text("select cohort_at from cohorts where cohort_id = :c"), {"c": cohort_id})
    if step == "pool":
        conn.execute(text("truncate pool_codes"))
        conn.execute(text(POOL), {"size": conn.scalar(text("select count(*) from enrollments where cohort_id = :c"), {"c": cohort_id})})
        conn.execute(text("analyze pool_codes"))
    conn.commit()
    began = time.perf_counter()
    plan_step(conn, version, cohort_id, step, policy=NO_RULES, now=version.journey.due_at(version.journey.step(step), at))
    conn.commit()
    return time.perf_counter() - began


def keep(conn: Connection, step: str, cohort_id: int) -> None:
    """Keep what was decided, finished, in temporary tables."""
    for table, columns, order in (
        ("messages", MESSAGE, "message_id"),
        ("batches", BATCH, "1"),
        ("coupons", COUPON, "1"),
    ):
        where = f"step = '{step}'" + (f" and cohort_id = {cohort_id}" if table != "coupons" else "")
        conn.execute(text(f"drop table if exists pg_temp.finished_{table}"))
        conn.execute(
            text(
                f"create temporary table finished_{table} as select {columns} from {table} where {where} order by {order}"
            )
        )
    conn.commit()


def forget(conn: Connection, step: str) -> None:
    """Empty the tables of this step's decisions; what came before stays."""
    if step == "unused":  # its coupons are those of the step before
        conn.execute(text("delete from messages where step = 'unused'"))
        conn.execute(text("delete from batches where step = 'unused'"))
        conn.commit()
        with conn.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            other.execute(text("vacuum messages, batches"))
    else:
        conn.execute(text("truncate messages, batches, coupons cascade"))
    conn.commit()


def insert_bare(conn: Connection) -> tuple[float, float]:
    """Seconds for the messages, and for the coupons before them."""
    for table, columns in (("batches", BATCH),):
        conn.execute(text(f"insert into {table} ({columns}) overriding system value select * from finished_{table}"))
    conn.commit()
    began = time.perf_counter()
    coupons = conn.execute(
        text(
            f"insert into coupons ({COUPON}) overriding system value select * from finished_coupons"
            " where not exists (select from coupons)"
        )
    ).rowcount
    conn.commit()
    coupons_s = time.perf_counter() - began if coupons else 0.0
    began = time.perf_counter()
    conn.execute(text(f"insert into messages ({MESSAGE}) select * from finished_messages"))
    conn.commit()
    return time.perf_counter() - began, coupons_s


def checkpoint(conn: Connection) -> None:
    conn.commit()
    conn.execute(text("checkpoint"))
    conn.commit()


def measure(conn: Connection, version: Version, cohort_id: int, step: str, pairs: int) -> dict:
    plans, bares, coupons, agains = [], [], [], []
    forget(conn, step)
    if step == "unused":
        plan(conn, version, cohort_id, "coupon")
        conn.execute(text("update coupons set state = 'issued' where hashtext(code) % 3 <> 0"))
        conn.commit()
    for pair in range(pairs + 1):
        checkpoint(conn)
        took = None
        if pair % 2 == 0:
            took = plan(conn, version, cohort_id, step)
            if pair == 0:  # one for nothing: the machine warms up, and what is inserted is learned
                counts = {
                    f"{decision} {reason or ''}".strip(): count
                    for decision, reason, count in conn.execute(
                        text(
                            "select decision, reason, count(*) from messages where step = :step and cohort_id = :c"
                            " group by 1, 2 order by 3 desc"
                        ),
                        {"step": step, "c": cohort_id},
                    )
                }
                keep(conn, step, cohort_id)
            else:
                plans.append(took)
            agains.append(plan(conn, version, cohort_id, step))
            forget(conn, step)
            checkpoint(conn)
        bare, bare_coupons = insert_bare(conn)
        forget(conn, step)
        if pair:
            bares.append(bare)
            coupons.append(bare_coupons)
        if pair % 2 == 1:
            checkpoint(conn)
            plans.append(plan(conn, version, cohort_id, step))
            forget(conn, step)
    ratios = [p / b for p, b in zip(plans, bares, strict=True)]
    found = {
        "messages": sum(counts.values()),
        "plan_s": [round(s, 3) for s in plans],
        "bare_s": [round(s, 3) for s in bares],
        "ratios": [round(r, 2) for r in ratios],
        "ratio": round(median(ratios), 2),
        "again_s": round(median(agains), 3),
        "decided": counts,
    }
    if any(coupons):
        both = [p / (b + c) for p, b, c in zip(plans, bares, coupons, strict=True)]
        found |= {"bare_coupons_s": [round(s, 3) for s in coupons], "ratio_with_coupons": round(median(both), 2)}
    return found


def main() -> None:
    options = argparse.ArgumentParser(description="Planning beside a bare insert of the same rows.")
    options.add_argument("--customers", type=int, default=1_000_000)
    options.add_argument("--small", type=int, default=1_000, help="the size of the small cohort")
    options.add_argument("--pairs", type=int, default=3)
    options.add_argument("--steps", default=",".join(STEPS))
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    say = (lambda *words: None) if asked.json else (lambda *words: print(*words, flush=True))
    version = load_version(CONTENT)
    figures = {}
    with tempfile.TemporaryDirectory(prefix="rt-bench-") as folder, hold(Path(folder) / "home") as server:
        url = server.url("retention")
        migrate(url)
        engine = create_engine(url, connect_args={"options": "-c timezone=UTC"})
        with engine.connect() as conn:
            settings = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "work_mem", "max_wal_size")
            shown = {name: conn.scalar(text(f"show {name}")) for name in settings}
            say(", ".join(f"{name} {value}" for name, value in shown.items()))
            make_world(conn, asked.customers, say)
            cohorts = {"all": make_cohort(conn, version, asked.customers, 1)}
            cohorts["small"] = make_cohort(conn, version, asked.small, 2)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("vacuum analyze"))
        say(f"cohorts of {asked.customers:,} and {asked.small:,} entered")
        for name, cohort_id in cohorts.items():
            for step in asked.steps.split(","):
                with engine.connect() as conn:
                    found = measure(conn, version, cohort_id, step, asked.pairs if name == "all" else asked.pairs * 3)
                figures[f"{name} {step}"] = found
                say(show(f"{name} {step}", found))
        engine.dispose()
    if asked.json:
        print(json.dumps({"settings": shown, **figures}, indent=2))


def show(name: str, found: dict) -> str:
    line = (
        f"{name:16} {found['messages']:>9,} messages   plan {median(found['plan_s']):7.2f} s   "
        f"bare insert {median(found['bare_s']):7.2f} s   ratio {found['ratio']:5.2f} {found['ratios']}   "
        f"again {found['again_s']:6.2f} s"
    )
    if "ratio_with_coupons" in found:
        line += (
            f"   coupons bare {median(found['bare_coupons_s']):.2f} s, ratio to both {found['ratio_with_coupons']:.2f}"
        )
    return line + "\n    " + ", ".join(f"{count:,} {word}" for word, count in found["decided"].items())


if __name__ == "__main__":
    main()
