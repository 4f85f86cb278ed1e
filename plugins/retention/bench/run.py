"""The benchmark of deliveries: `retention bench`. Owns what is run beside what, and what is said of it.

Everything is made for the run and goes with it: an embedded server of the product's own settings, a million invented
customers, a stub of the providers in a process of its own that parses every body. The naive loop and the raw parts are
measured before and after our delivery, in the same run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import mean
from typing import Any

from sqlalchemy import Engine, create_engine

from retention.bench import limits, naive
from retention.bench.stub import Stub, start_stub
from retention.bench.world import AT, decide, enroll, populate
from retention.errors import RetentionError
from retention.store.embedded import hold
from retention.store.migrate import migrate

Progress = Callable[[str], None]

LIMITED_PER_S = 100
LIMITED_COUNT = 1500


@dataclass(frozen=True)
class Wanted:
    """What to measure. `sms`: how many SMS; the e-mail steps go to all customers. `naive`: how many by the loop."""

    customers: int = 100_000
    sms: int = 20_000
    workers: int = 3
    naive: int = 400
    has_limit: bool = True


def run_bench(wanted: Wanted, on_progress: Progress) -> dict[str, Any]:
    """Measure; {machine, customers, workers, email, email_rendered, sms, sms_limited, plan}. Rates are messages a second.

    email, email_rendered and sms each have messages_per_s, naive_per_s, ratio_naive, limits (rates of the raw parts),
    slowest_part, ratio_limit, peak_rss_mb, seconds, and plan (seconds of deciding the step, beside a bare
    INSERT ... SELECT of the same rows). Raises RetentionError when the stub's record and ours disagree.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, hold(Path(folder)) as server:
        url = server.url("bench")
        migrate(url)
        engine = create_engine(url, connect_args={"options": "-c timezone=UTC"})
        on_progress(f"{wanted.customers:,} customers")
        populate(engine, wanted.customers)
        try:
            found = {"customers": wanted.customers, "workers": wanted.workers, "cores": os.cpu_count()}
            cohort = enroll(engine, wanted.customers)
            few = enroll(engine, min(wanted.sms, wanted.customers), at=AT + timedelta(minutes=1))
            with start_stub() as stub, _accounts(stub.url):
                for name, step, channel, of in (
                    ("email", "email_filled", "email", cohort),
                    ("email_rendered", "email_rendered", "email", cohort),
                    ("sms", "sms", "sms", few),
                ):
                    found[name] = _measure(engine, url, stub, of, step, channel, wanted, on_progress)
            if wanted.has_limit:
                found["sms_limited"] = _measure_limited(engine, url, wanted, on_progress)
            return found
        finally:
            engine.dispose()


def _measure(
    engine: Engine, url: str, stub: Stub, cohort: int, step: str, channel: str, wanted: Wanted, on_progress: Progress
) -> dict[str, Any]:
    send_naively = naive.send_emails if channel == "email" else naive.send_sms
    on_progress(f"{step}: deciding it")
    began = time.perf_counter()
    decide(engine, cohort, step)
    plan_s = time.perf_counter() - began
    naively, parts = [], []

    def look_beside() -> None:
        on_progress(f"{step}: the loop of the tutorials, and the raw parts")
        naively.append(send_naively(engine, stub.url, wanted.naive))
        parts.append(limits.measure(engine, cohort, step, channel))

    look_beside()
    stub.clear()
    on_progress(f"{step}: delivering with {wanted.workers} workers")
    delivered = _deliver(url, cohort, step, channel, wanted.workers)
    _compare(stub, delivered["messages"], step)
    look_beside()
    each = {part: mean(found[part] for found in parts) for part in parts[0]}
    slowest = min(each, key=each.__getitem__)
    rate, naive_rate = delivered["messages"] / delivered["seconds"], mean(naively)
    insert_s = delivered["messages"] / each["insert_select"]
    return {
        "messages": delivered["messages"],
        "seconds": delivered["seconds"],
        "messages_per_s": rate,
        "naive_per_s": naive_rate,
        "ratio_naive": rate / naive_rate,
        "limits": each,
        "slowest_part": slowest,
        "ratio_limit": rate / each[slowest],
        "peak_rss_mb": delivered["peak_rss_mb"],
        "cpu_s": delivered["cpu_s"],
        "plan": {"seconds": plan_s, "insert_select_seconds": insert_s, "ratio": plan_s / insert_s},
    }


def _measure_limited(engine: Engine, url: str, wanted: Wanted, on_progress: Progress) -> dict[str, Any]:
    """SMS against a provider that takes so many a second and not one more."""
    count = min(LIMITED_COUNT, wanted.customers)
    on_progress(f"sms: {count:,} at a limit of {LIMITED_PER_S} a second")
    cohort = enroll(engine, count, at=AT + timedelta(minutes=2))
    decide(engine, cohort, "sms")
    with start_stub(rate=LIMITED_PER_S) as stub, _accounts(stub.url, sms_per_second=LIMITED_PER_S):
        delivered = _deliver(url, cohort, "sms", "sms", wanted.workers)
        record = _compare(stub, delivered["messages"], "sms")
    rate = (delivered["messages"] - 1) / (record["last_at"] - record["first_at"])
    return {
        "messages": delivered["messages"],
        "messages_per_s": rate,
        "limit_per_s": LIMITED_PER_S,
        "ratio_limit": rate / LIMITED_PER_S,
        "refused_429": record["rate_limited"],
    }


def _deliver(url: str, cohort: int, step: str, channel: str, workers: int) -> dict[str, Any]:
    """All shards at once, in processes of their own that are ready before the clock starts."""
    command = [sys.executable, "-m", "retention.bench.worker", url, str(cohort), step, channel]
    running = [
        subprocess.Popen([*command, str(n), str(workers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(workers)
    ]
    try:
        for process in running:
            if process.stdout.readline().strip() != "ready":
                raise RetentionError("bench: a worker did not start; what it said stands above.")
        began = time.perf_counter()
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [json.loads(process.stdout.readline() or "null") for process in running]
        seconds = time.perf_counter() - began
    finally:
        for process in running:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
    if not all(said):
        raise RetentionError("bench: a worker failed; what it said stands above.")
    # Each reports the whole step as it left it: who ended last saw everything.
    accepted = max(it["handled"].get("accepted", 0) for it in said)
    return {
        "messages": accepted,
        "seconds": seconds,
        "peak_rss_mb": max(it["peak_rss_mb"] for it in said),
        "cpu_s": sum(it["cpu_s"] for it in said),
    }


def _compare(stub: Stub, messages: int, step: str) -> dict[str, Any]:
    record = stub.fetch_record()
    if record["accepted"] != messages:
        raise RetentionError(f"bench: {step}: the stub took {record['accepted']}, our record says {messages}.")
    return record


@contextmanager
def _accounts(stub_url: str, sms_per_second: float | None = None):
    """The accounts of this run, in the environment that the workers inherit; nothing but this machine can be reached."""
    email = {"conn_type": "sendgrid", "password": "SG.bench", "host": stub_url}
    sms = {"conn_type": "twilio", "login": "AC" + "a" * 32, "password": "bench", "host": stub_url}
    senders = {"senders": {"*": "+15005550006"}, "per_second": sms_per_second or "none"}
    set_here = {
        "AIRFLOW_CONN_RETENTION_EMAIL": json.dumps(
            {**email, "extra": {"from_email": "news@example.com", "per_second": "none"}}
        ),
        "AIRFLOW_CONN_RETENTION_SMS": json.dumps({**sms, "extra": senders}),
        "RETENTION_PUBLIC_URL": "https://hello.example.com",
        "RETENTION_SIGNING_KEY": "a key for benchmarks that is of no use elsewhere",
        "RETENTION_LOOPBACK_ONLY": "1",
    }
    before = {name: os.environ.get(name) for name in set_here}
    os.environ.update(set_here)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
