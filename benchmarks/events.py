"""Events of a provider, beside the rate at which Postgres copies the same rows: on one core, all of it.

    .venv/bin/python benchmarks/events.py
    .venv/bin/python benchmarks/events.py --messages 200000 --months 1 --json

Postgres and this process share one core. SendGrid's batches are made and signed beforehand; what is measured is the app of
`retention serve` (without the network) and what follows: the signature, the raw body on disk, JSON taken apart, each event
held against its message, outcomes with their indexes, suppressions and consents. Then all batches once more: repeats change
nothing. Everything is made in a temporary folder and removed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import orjson
import psutil
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import Connection, Engine, create_engine, text

from retention.delivery.events.interpret import interpret
from retention.delivery.events.sources import Sources
from retention.store.embedded import hold
from retention.store.migrate import migrate
from retention.store.months import open_months
from retention.store.staging import copy_csv
from retention.web.public.app import make_app

NOW = datetime(2026, 12, 2, tzinfo=UTC)
AT = int(datetime(2026, 12, 1, 10, tzinfo=UTC).timestamp())
BATCH = 1000
AT_ONCE = 4
"""SendGrid calls from several places at once."""

COLUMNS = ("message_id", "kind", "reason", "provider", "provider_id", "event_key", "link_key", "is_machine", "occurred_at", "recorded_at")  # fmt: skip

PEOPLE = (
    "insert into journey_versions (journey, content_hash, content, created_at) values ('bench', 'h', '{}', :at)",
    """insert into customers (customer_id, email, occurred_at, recorded_at)
       select 'C' || n, 'name.' || n || '@example.com', :at, :at from generate_series(1, :count) as n""",
    """insert into consents (customer_id, channel, purpose, is_granted, source, occurred_at, recorded_at)
       select customer_id, 'email', 'marketing', true, 'bench', :at, :at from customers""",
)
MONTH = (
    """insert into cohorts (mode, journey, cohort_at, version_id, status, candidates, created_at)
       values ('live', 'bench', :at, 1, 'open', :count, :at)""",
    """insert into batches (cohort_id, step, channel, wave, ordinal, size, state, planned_at)
       select max(cohort_id), 'hello', 'email', 0, n, 1000, 'done', :at
       from cohorts, generate_series(0, (:count - 1) / 1000) as n group by n""",
    """insert into enrollments (cohort_id, mode, journey, customer_id, occurrence, arm, is_eligible, email, entered_at)
       select (select max(cohort_id) from cohorts), 'live', 'bench', customer_id,
              'round:' || (select max(cohort_id) from cohorts), 'main', true, email, :at
       from customers order by length(customer_id), customer_id""",
    """insert into messages (enrollment_id, cohort_id, step, channel, attempt, role, decision, address, locale, batch_id, due_at,
                             not_before, not_after, planned_at)
       select e.enrollment_id, e.cohort_id, 'hello', 'email', 1, 'first', 'send', e.email, 'en', b.batch_id, :at, :at, :at, :at
       from (select *, (row_number() over (order by enrollment_id) - 1) / 1000 as ordinal from enrollments
             where cohort_id = (select max(cohort_id) from cohorts)) as e
       join batches b using (cohort_id, ordinal)
       order by e.enrollment_id""",
    """insert into outcomes (message_id, kind, provider, provider_id, occurred_at, recorded_at)
       select message_id, 'accepted', 'sendgrid', 'x', :at, :at from messages
       where cohort_id = (select max(cohort_id) from cohorts) order by message_id""",
)


def make_world(engine: Engine, count: int, months: int) -> list[tuple[int, int, str]]:
    """A message to everybody in each month. Returns id, batch and address of the last month's."""
    first = 12 * 2026 + 12 - months
    for n in range(months):
        at = datetime((first + n) // 12, (first + n) % 12 + 1, 1, tzinfo=UTC)
        with engine.begin() as conn:
            open_months(conn, at)
        with engine.begin() as conn:
            for statement in (*(PEOPLE if n == 0 else ()), *MONTH):
                said = {"at": at, "count": count}
                conn.execute(text(statement), {name: it for name, it in said.items() if f":{name}" in statement})
    with engine.begin() as conn:
        conn.execute(text("analyze"))
        newest = (
            "select message_id, batch_id, address from messages where cohort_id = (select max(cohort_id) from cohorts)"
        )
        return [tuple(row) for row in conn.execute(text(newest))]


def make_bodies(messages: list[tuple[int, int, str]], luck: random.Random) -> list[bytes]:
    """Batches of a thousand events as SendGrid writes them: four to five a message, some of them ends, in no order."""
    agent = (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
    )
    events = []
    for message_id, batch_id, address in messages:
        fate = [("processed", 0, {}), ("delivered", 2, {"response": "250 2.0.0 OK 1606788000 gsmtp", "tls": 1})]
        fate += [("open", 3600, {"useragent": agent, "sg_machine_open": luck.random() < 0.3, "ip": "203.0.113.7"})]
        fate += [
            (
                "click",
                3630,
                {"useragent": agent, "url": "https://shop.example.com/spring?ref=mail", "ip": "203.0.113.7"},
            )
        ]
        draw = luck.random()
        if draw < 0.01:
            reason = "550 5.1.1 The email account that you tried to reach does not exist."
            fate = [fate[0], ("bounce", 2, {"type": "bounce", "status": "5.1.1", "reason": reason})]
        elif draw < 0.015:
            fate.append(("unsubscribe", 4000, {}))
        for word, after, more in fate:
            events.append({
                "email": address, "timestamp": AT + after, "event": word, "sg_event_id": luck.randbytes(20).hex(),
                "sg_message_id": f"{luck.randbytes(11).hex()}.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",
                "smtp-id": f"<{luck.randbytes(11).hex()}@ismtpd0039p1iad1.sendgrid.net>",
                "retention_message": str(message_id), "retention_batch": str(batch_id), "retention_mode": "live", **more,
            })  # fmt: skip
    luck.shuffle(events)
    return [orjson.dumps(events[at : at + BATCH]) for at in range(0, len(events), BATCH)]


def sign(key: EllipticCurvePrivateKey, body: bytes) -> list[tuple[bytes, bytes]]:
    stamp = str(int(NOW.timestamp())).encode()
    return [
        (b"x-twilio-email-event-webhook-signature", b64encode(key.sign(stamp + body, ECDSA(SHA256())))),
        (b"x-twilio-email-event-webhook-timestamp", stamp),
        (b"content-length", str(len(body)).encode()),
    ]


async def post(app, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> int:
    """One request to the app, as a server hands it over. Returns the status."""
    said: list[int] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict) -> None:
        if message["type"] == "http.response.start":
            said.append(message["status"])

    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8090),
    }  # fmt: skip
    await app(scope, receive, send)
    return said[0]


def spent(home: Path) -> float:
    """Seconds of processor time of this process and of Postgres so far."""
    postmaster = psutil.Process(int((home / "postgres" / "data" / "postmaster.pid").read_text().split()[0]))
    every = [psutil.Process(), postmaster, *postmaster.children()]
    return sum(sum(it.cpu_times()[:2]) for it in every)


def take_in(engine: Engine, app, requests: list[tuple[list, bytes]]) -> tuple[float, float, dict]:
    """Seconds for receiving all, and for understanding all."""

    async def receive() -> None:
        waiting = list(reversed(requests))

        async def caller() -> None:
            while waiting:
                headers, body = waiting.pop()
                assert await post(app, "/events/sendgrid", headers, body) == 204

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))

    began = time.perf_counter()
    asyncio.run(receive())
    received = time.perf_counter() - began
    done = interpret(engine, NOW)
    return received, time.perf_counter() - began - received, vars(done)


def copy_rows(conn: Connection, table: str, payloads: list[bytes]) -> float:
    """Seconds for COPY of the same outcomes, a thousand a commit."""
    began = time.perf_counter()
    for payload in payloads:
        copy_csv(conn, table, COLUMNS, payload)
        conn.commit()
    return time.perf_counter() - began


def read_payloads(conn: Connection) -> list[bytes]:
    listed = ", ".join(COLUMNS)
    found = conn.execute(text(f"select {listed} from outcomes where event_key is not null order by outcome_id")).all()
    lines = [",".join("" if it is None else str(it) for it in row) + "\n" for row in found]
    return ["".join(lines[at : at + BATCH]).encode() for at in range(0, len(lines), BATCH)]


def measure(url: str, home: Path, count: int, months: int, say) -> dict:
    engine = create_engine(url, connect_args={"options": "-c timezone=UTC"})
    say(f"making {count:,} messages in each of {months} months, and the events of the last")
    messages = make_world(engine, count, months)
    key, luck = generate_private_key(SECP256R1()), random.Random(7)
    bodies = make_bodies(messages, luck)
    events = sum(len(orjson.loads(body)) for body in bodies)
    requests = [(sign(key, body), body) for body in bodies]
    sources = Sources(sendgrid=(key.public_key(),))
    app = make_app(engine, sources=sources, public_url=None, signer=None, clock=lambda: NOW)
    say(f"{events:,} events in {len(bodies):,} requests of {sum(map(len, bodies)) / len(bodies) / 1000:,.0f} kB")
    before = spent(home)
    received, understood, done = take_in(engine, app, requests)
    worked = spent(home) - before
    assert done["fresh"] == events and done["odd"] == done["failed"] == 0, done
    with engine.connect() as conn:
        stood = count_rows(conn)
        payloads = read_payloads(conn)
        say("COPY of the same outcomes")
        conn.execute(text("create table bare_outcomes (like outcomes)"))
        conn.execute(text("alter table bare_outcomes alter outcome_id drop not null"))
        conn.execute(text("create table kept_outcomes (like outcomes including all)"))
        conn.commit()
        bare, kept = copy_rows(conn, "bare_outcomes", payloads), copy_rows(conn, "kept_outcomes", payloads)
    say("all batches once more")
    again_received, again_understood, again = take_in(engine, app, requests)
    with engine.connect() as conn:
        assert again["fresh"] == 0 and count_rows(conn) == stood
    return {
        "events": events,
        "months": months,
        "requests": len(bodies),
        "kb_a_request": round(sum(map(len, bodies)) / len(bodies) / 1000),
        "events_per_s": round(events / (received + understood)),
        "events_per_cpu_s": round(events / worked),
        "received_s": round(received, 2),
        "interpreted_s": round(understood, 2),
        "copy_bare_per_s": round(events / bare),
        "copy_indexed_per_s": round(events / kept),
        "repeated_events_per_s": round(events / (again_received + again_understood)),
        "rows": stood,
    }


def count_rows(conn: Connection) -> dict[str, int]:
    tables = ("outcomes", "suppressions", "consents", "odd_events")
    return {table: conn.scalar(text(f"select count(*) from {table}")) for table in tables}


def main() -> None:
    options = argparse.ArgumentParser(description="Events beside bare COPY, on one core.")
    options.add_argument("--messages", type=int, default=50_000)
    options.add_argument("--months", type=int, default=13, help="of messages that are kept")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    say = (lambda *words: None) if asked.json else print
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # what is started from here on inherits it: Postgres, too
    with tempfile.TemporaryDirectory(prefix="rt-bench-") as name, hold(Path(name) / "home") as server:
        url = server.url("retention")
        migrate(url)
        figures = measure(url, Path(name) / "home", asked.messages, asked.months, say)
    print(json.dumps(figures, indent=2)) if asked.json else show(figures)


def show(figures: dict) -> None:
    print()
    print(f"{figures['events_per_s']:>10,} events/s  ({figures['events']:,} in requests of {BATCH:,}, one core)")
    print(f"{figures['events_per_cpu_s']:>10,} events a second of processor time, ours and Postgres'")
    print(f"{figures['copy_bare_per_s']:>10,} rows/s    COPY of the same outcomes into a table without an index")
    print(f"{figures['copy_indexed_per_s']:>10,} rows/s    COPY into one with the indexes of outcomes")
    print(f"{figures['repeated_events_per_s']:>10,} events/s  the same requests once more: nothing new, nothing double")
    print(f"receiving {figures['received_s']} s, understanding {figures['interpreted_s']} s")


if __name__ == "__main__":
    main()
