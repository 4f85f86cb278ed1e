"""Whatever breaks, at whatever moment: the provider's own record against ours. Real workers, a real server, a real stub.

A message is in the provider's record once at most; what we call accepted is there; what is there we call accepted or in
doubt; and nobody is forgotten.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from retention.bench.stub import start_stub
from retention.bench.stub_gateway import PATH, SECRETS, STATUS_PATH
from retention.bench.world import NOON, decide, enroll, populate
from retention.delivery.accounts import read_account
from retention.delivery.channels import BATCH_SIZES
from retention.delivery.choose import choose_provider
from retention.delivery.reconcile import reconcile
from retention.delivery.tokens import STATUS, read_signer
from retention.journey.fields import CHANNELS
from retention.store.database import ROOT
from retention.store.embedded import hold
from retention.store.migrate import migrate

WORKER = """
import os, sys, time
sys.path[:0] = [sys.argv[1]]
from retention.bench.world import NOON
from retention.delivery import batch_worker, deliver, pacing
from retention.delivery.channels.base import HttpProvider
from retention.delivery.channels.sendgrid import SendGridProvider
from retention.delivery.channels.twilio import TwilioProvider
from retention.errors import ProviderPaused, RetryLater
from retention.orchestration import cohort
from retention.store.database import connect

pacing.SHORTEST_S, pacing.LONGEST_S, pacing.TRIAL_S, pacing.PATIENCE_S = 0.05, 0.2, 0.5, 0.2
deliver.RETRY_WAITS_S, deliver.BUSY_WAIT_S, batch_worker.MAX_ATTEMPTS = (0.02,), 2, 1000
SendGridProvider.timeout_s = TwilioProvider.timeout_s = 0.7
engine = connect(sys.argv[2])
# Once with nothing to do, so that what follows is sending and not importing.
cohort.deliver(engine, int(sys.argv[3]), sys.argv[4], sys.argv[5], wave=99, clock=lambda: NOON)
print("ready", flush=True)
while True:
    try:
        cohort.deliver(engine, int(sys.argv[3]), sys.argv[4], sys.argv[5], shard=int(sys.argv[6]), of=int(sys.argv[7]), clock=lambda: NOON)
        break
    except (ProviderPaused, RetryLater) as wait:
        time.sleep(min(getattr(wait, "wait_s", 0.1), 0.2))
"""

SAFE_FAULTS = ("status_500", "status_429", "cut_mid_body", "hang_before")
"""Nobody was accepted."""

DOUBTFUL_FAULTS = ("accept_then_hang", "accept_then_cut", "cut_mid_answer")
"""Somebody was, and we are not told."""


@dataclass
class Field:
    """One cohort under fire."""

    url: str
    engine: object
    stub: object
    record: Path
    cohort: int
    step: str
    channel: str
    draw: random.Random
    kills: Counter = field(default_factory=Counter)

    def start(self, shard=0, of=1):
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(ROOT / "plugins"), self.url, str(self.cohort), self.step, self.channel,
             str(shard), str(of)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ},
        )  # fmt: skip
        process.stdout.readline()
        return process

    def end(self, processes, how=signal.SIGKILL):
        for process in processes:
            if process.poll() is None:
                process.send_signal(how)
                self.kills[how.name] += 1
        for process in processes:
            process.wait()
            process.stdout.close()

    def is_done(self):
        with self.engine.connect() as conn:
            return not conn.scalar(text("select count(*) from batches where state in ('ready', 'sending')"))

    def fire(self, rounds, workers=1, longest=1.0, faults=()):
        """Kill workers at random moments, so often; and let the last ones finish in peace."""
        for _ in range(rounds):
            if self.is_done():
                break
            self.stub.set_faults(seed=self.draw.randrange(10**6), delay_ms=self.draw.choice([10, 30, 60]),
                                 **{name: self.draw.choice([0, 0.02, 0.1]) for name in faults})  # fmt: skip
            # Of several workers some share a shard and some do not.
            of = self.draw.choice([1, workers])
            running = [self.start(n % of, of) for n in range(workers)]
            time.sleep(self.draw.uniform(0, longest))
            self.end(running, self.draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT]))
        self.stub.set_faults()
        for _ in range(20):
            if self.is_done():
                return
            process = self.start()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                self.end([process])
            process.stdout.close()
        raise AssertionError("it never ends")

    def read_record(self):
        """The provider's own record: message id -> how often it was accepted."""
        signer, seen = read_signer(), Counter()
        for line in self.record.read_text().splitlines():
            said = json.loads(line)
            if said["kind"] == "email":
                seen[int(said["args"]["retention_message"])] += 1
            elif said["kind"] == "webhook":
                seen[said["id"]] += 1
            else:
                seen[signer.read(STATUS, said["callback"].rpartition("/")[2])] += 1
        return seen

    def check(self):
        """The two records against each other; how many are in doubt, and how many of them had arrived."""
        ours = {}
        with self.engine.connect() as conn:
            wanted = set(conn.scalars(text("select message_id from messages where decision = 'send'")))
            for message_id, kind in conn.execute(text("select message_id, kind from outcomes")):
                ours.setdefault(message_id, set()).add(kind)
            states = Counter(conn.scalars(text("select state from batches")))
            counted = conn.scalar(text("select coalesce(sum(in_doubt), 0) from batches"))
        theirs = self.read_record()
        assert not [m for m, times in theirs.items() if times > 1], "sent twice"
        accepted = {m for m, kinds in ours.items() if "accepted" in kinds}
        doubts = {m for m, kinds in ours.items() if kinds == {"unknown"}}
        assert accepted <= set(theirs), "we say accepted, and the provider never saw it"
        assert set(theirs) <= accepted | doubts, "the provider has it, and we don't know"
        assert accepted | doubts == wanted == set(ours), "somebody was forgotten"
        assert set(states) <= {"done", "unknown"} and counted == len(doubts)
        return doubts, doubts & set(theirs)

    def reconcile(self):
        def provider_of(channel, mode):
            return choose_provider(self.engine, channel, mode=mode, find_account=read_account, clock=lambda: NOON)

        return reconcile(self.engine, now=NOON + timedelta(hours=1), provider_of=provider_of)


@pytest.fixture
def battle(monkeypatch, tmp_path):
    """A cohort of so many on one channel, decided, with a stub for its provider."""

    @contextmanager
    def battle(url, count, channel, seed):
        engine = create_engine(url)
        step = "email_filled" if channel == "email" else channel
        populate(engine, count, channels=[channel])
        cohort = enroll(engine, count)
        decide(engine, cohort, step)
        record = tmp_path / f"record-{seed}-{channel}"
        with start_stub(record, at=NOON) as stub:
            email = {"conn_type": "sendgrid", "password": "SG.x", "host": stub.url}
            sms = {"conn_type": "twilio", "login": "AC" + "a" * 32, "password": "x", "host": stub.url}
            extra = {"from_email": "news@example.com", "per_second": "none"}
            monkeypatch.setenv("AIRFLOW_CONN_RETENTION_EMAIL", json.dumps({**email, "extra": extra}))
            extra = {"senders": {"*": "+15005550006"}, "per_second": "none"}
            for name in ("SMS", "WHATSAPP"):
                monkeypatch.setenv(f"AIRFLOW_CONN_RETENTION_{name}", json.dumps({**sms, "extra": extra}))
            gateway = {"conn_type": "webhook", "password": SECRETS[0], "host": stub.url + PATH}
            extra = {"per_second": "none", "timeout_s": 1, "batch_size": 20, "status_url": stub.url + STATUS_PATH}
            monkeypatch.setenv("AIRFLOW_CONN_RETENTION_WEBHOOK", json.dumps({**gateway, "extra": extra}))
            monkeypatch.setenv("RETENTION_PUBLIC_URL", "https://hello.example.com")
            monkeypatch.setenv("RETENTION_SIGNING_KEY", "0123456789abcdef0123456789abcdef")
            yield Field(url, engine, stub, record, cohort, step, channel, random.Random(seed))
        engine.dispose()

    return battle


def say(it, doubts, arrived):
    with it.engine.connect() as conn:
        sent = conn.scalar(text("select count(*) from messages where decision = 'send'"))
    print(
        f"{it.channel}: {dict(it.kills)} kills, {sent} messages, {len(doubts)} in doubt, {len(arrived)} of them arrived"
    )


@pytest.mark.parametrize("channel", CHANNELS)
def test_kills_at_any_moment(battle, database_url, channel):
    with battle(database_url, 10_000 if channel == "email" else 1000, channel, 1) as it:
        it.fire(rounds=3, workers=2, longest=0.8)
        doubts, arrived = it.check()
        say(it, doubts, arrived)
        if channel != "email":
            assert len(doubts) <= BATCH_SIZES[channel] * sum(it.kills.values())
        done = it.reconcile()
        doubts, arrived = it.check()
        assert not arrived, "the provider knows them, and we could have asked"
        assert sum(left.count for left in done.left) == len(doubts)


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_fault_of_a_provider(battle, database_url, channel):
    with battle(database_url, 3000 if channel == "email" else 300, channel, 2) as it:
        it.stub.set_faults(seed=3, **{name: 0.08 for name in (*SAFE_FAULTS, *DOUBTFUL_FAULTS)})
        process = it.start()
        process.wait(60)
        process.stdout.close()
        it.fire(rounds=0)
        doubts, arrived = it.check()
        say(it, doubts, arrived)
        it.reconcile()
        assert not it.check()[1]


def test_a_provider_that_only_refuses_leaves_nobody_in_doubt(battle, database_url):
    with battle(database_url, 300, "sms", 4) as it:
        it.stub.set_faults(seed=5, status_500=0.3, status_429=0.1)
        process = it.start()
        process.wait(60)
        process.stdout.close()
        it.fire(rounds=0)
        assert it.check() == (set(), set())
        assert sum(it.read_record().values()) == 300


def fall_over(server, data: Path):
    """Postgres dies in the middle of whatever it does, and is started again."""
    pid = int((data / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGQUIT)  # an immediate shutdown: nothing is finished, the log is replayed at the next start
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]:
        time.sleep(0.02)
    server.ensure()


def survive_restarts(battle, channel, count, seed, times):
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="rt-") as folder, hold(Path(folder)) as server:
        migrate(server.url("battle"))
        with battle(server.url("battle"), count, channel, seed) as it:
            for _ in range(times):
                it.engine.dispose()
                it.stub.set_faults(delay_ms=40)
                running = [it.start(n, 2) for n in range(2)]
                time.sleep(draw.uniform(0.1, 0.9))
                fall_over(server, Path(folder) / "postgres" / "data")
                it.kills["POSTGRES"] += 1
                for process in running:  # what the provider answered is written down as soon as the server is back
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(5)
                it.end(running)
            it.engine.dispose()
            it.fire(rounds=0)
            doubts, arrived = it.check()
            say(it, doubts, arrived)
            it.reconcile()
            assert not it.check()[1]


def test_postgres_falls_over(battle):
    survive_restarts(battle, "email", 10_000, seed=6, times=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("channel", ["email", "sms"])
def test_postgres_falls_over_again_and_again(battle, channel, seed):
    survive_restarts(battle, channel, 20_000 if channel == "email" else 1500, seed=seed, times=5)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("channel", CHANNELS)
def test_everything_at_random(battle, database_url, channel, seed):
    draw = random.Random(1000 + seed)
    count = draw.choice([2000, 6000, 20000]) if channel == "email" else draw.choice([300, 1000, 3000])
    with battle(database_url, count, channel, seed) as it:
        faults = draw.choice([(), SAFE_FAULTS, DOUBTFUL_FAULTS, (*SAFE_FAULTS, *DOUBTFUL_FAULTS)])
        it.fire(
            rounds=draw.choice([6, 12]), workers=draw.choice([1, 2, 3]), longest=draw.choice([0.5, 1.2]), faults=faults
        )
        doubts, arrived = it.check()
        if channel != "email" and not faults:
            assert len(doubts) <= BATCH_SIZES[channel] * sum(it.kills.values())
        say(it, doubts, arrived)
        it.reconcile()
        assert not it.check()[1]
