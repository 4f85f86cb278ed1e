"""Whole cohorts, killed at any moment, as often as it takes: nothing twice, nothing lost, the books close."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import text

from retention.store.database import ROOT
from tests.world import shanghai

AT = shanghai("2026-12-01 06:00")
RUNNER = """
import sys, time
sys.path[:0] = [sys.argv[2], sys.argv[3]]
from datetime import datetime
import retention.delivery.channels.outbox as outbox
from retention.orchestration.alone import run_cohort
from retention.store.database import connect
from tests.world import example

def slow(self, *rest, send=outbox.OutboxProvider.hand_over):
    time.sleep(0.02)
    send(self, *rest)
    time.sleep(0.02)

outbox.OutboxProvider.hand_over = slow
print("ready", flush=True)
run_cohort(connect(sys.argv[1]), example(), datetime.fromisoformat(sys.argv[4]), mode="test", is_on_time=True)
"""


def start(database_url):
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, database_url, str(ROOT / "plugins"), str(ROOT), AT.isoformat()],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ},
    )
    process.stdout.readline()  # imported, about to begin
    return process


def carry_through(world, database_url, draw, workers):
    """Kill runs at random moments until one comes through; the number of kills."""
    kills = 0
    while True:
        running = [start(database_url) for _ in range(workers)]
        time.sleep(draw.uniform(0.0, 0.5) if kills < 12 else 20)
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
        codes = [process.wait() for process in running]
        if 0 in codes and world.rows("select status from cohorts") == [("settled",)]:
            return kills


def check_books(world):
    enrolled = world.count("enrollments")
    for step in ("greeting", "last_day"):
        assert world.count("messages", step=step, attempt=1) == world.count("messages", step=step) == enrolled
    sends = world.count("messages", decision="send")
    assert world.count("outbox") == world.count("outcomes", kind="accepted") == sends > 0
    assert world.count("outcomes") == sends
    assert world.count("batches", state="done") == world.count("batches") > 2
    assert world.count("coupons", state="issued") == world.count("messages", decision="send", step="greeting")
    assert world.count("cohorts") == 1


def populate(world, count):

    with world.engine.begin() as conn:
        conn.execute(
            text(
                "insert into customers (customer_id, name, email, phone, birth_calendar, birth_month, birth_day, locale,"
                " timezone, country, occurred_at, recorded_at)"
                " select 'c' || n, 'Name ' || n, 'c' || n || '@example.com', '+1202555' || lpad(n::text, 4, '0'), 'solar', 12, 4,"
                " 'zh-CN', 'Asia/Shanghai', 'CN', '2020-01-01Z', '2020-01-01Z' from generate_series(1, :count) as n"
            ),
            {"count": count},
        )
        conn.execute(
            text(
                "insert into consents (customer_id, channel, purpose, is_granted, source, wording, occurred_at,"
                " recorded_at)"
                " select customer_id, channel, 'marketing', true, 'test', 'I agree', '2020-01-01Z', '2020-01-01Z'"
                " from customers cross join (values ('sms'), ('email')) as c (channel)"
                " where channel = 'email' or customer_id like '%7' or customer_id like '%3'"
            )
        )


def test_a_cohort_that_is_killed_again_and_again(world, database_url):
    populate(world, 400)
    kills = carry_through(world, database_url, random.Random(7), workers=2)
    check_books(world)
    print(f"{kills} kills, {world.count('outbox')} messages")


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(40))
def test_many_cohorts_that_are_killed_again_and_again(world, database_url, seed):
    draw = random.Random(seed)
    populate(world, draw.choice([60, 400, 1500]))
    kills = carry_through(world, database_url, draw, workers=draw.choice([1, 2, 3]))
    check_books(world)
    print(f"{kills} kills, {world.count('outbox')} messages")
