"""The same days by the engine's replay and by real Airflow runs: the ledgers are identical, row by row."""

from __future__ import annotations

import heapq
from datetime import date, timedelta

import pytest
import time_machine

from retention.journey.files import read_files
from retention.journey.load import load
from retention.journey.policy import read_policy
from retention.orchestration.replay import fingerprint, replay
from retention.store.queries import run
from retention.store.scratch import scratch_store
from tests.world import World, shanghai

JOURNEY = "birthday_care"
FIRST = date(2026, 11, 5)
LENGTH = timedelta(days=11)
"""Until a cohort's last step is through, its hours of contact and its books included."""


@pytest.fixture
def shop(house, engine):
    """Birthdays on every day; some without consent, without an address, with one that bounced, with the same one."""
    world = World(engine)
    for n in range(60):
        day = FIRST + timedelta(days=n % 20)
        consent = {0: ("email",), 1: ()}.get(n % 6, ("sms", "email"))
        world.customer(f"c{n:02}", f"{day:%m-%d}", consent=consent, locale=("zh-CN", "en")[n % 2])
    world.change_customer("c04", shanghai("2025-01-01 00:00"), email=None, phone=None)
    world.suppress("email", "c06@example.com")
    for n in (3, 5, 23):  # these order while their journey is under way
        world.order(f"o{n}", f"c{n:02}", shanghai(f"{FIRST + timedelta(days=n % 20)} 12:00"))
    return world


def fetch_ledger(engine) -> list[tuple]:
    with engine.connect() as conn:
        return [tuple(row) for row in run(conn, "replay/list_ledger", journey=JOURNEY)]


def play_in_airflow(house, days: int) -> None:
    """One run a day, asked again at each moment at which something of it may be due, the clock moving on alone."""
    house.parse()
    versions = load(read_files(house.include)).versions
    steps, turns = versions[JOURNEY].journey.steps, []
    for n in range(days):
        at = shanghai(f"{FIRST + timedelta(days=n)} 06:00")
        dues = {versions[JOURNEY].journey.due_at(step, at) for step in steps}
        for moment in {at, *dues, at + LENGTH}:
            heapq.heappush(turns, (moment, n, at))
    with time_machine.travel(turns[0][0], tick=False) as clock:
        while turns:
            moment, n, at = heapq.heappop(turns)
            clock.move_to(moment)
            if moment == at:
                house.start(JOURNEY, f"day{n}", at, run_type="scheduled")
            states = house.work(JOURNEY, f"day{n}")
            assert "failed" not in states.values(), states
            if moment == at + LENGTH:
                assert states["run"] == "success", states


def compare(house, shop, days: int) -> None:
    versions, rules = (
        {JOURNEY: load(read_files(house.include)).versions[JOURNEY]},
        read_policy(read_files(house.include)),
    )
    with scratch_store(shop.engine, as_it_happened=True) as scratch:
        # The replay decides what is due within its days alone: it plays on, and its later cohorts are left out.
        last = FIRST + timedelta(days=days - 1) + LENGTH
        assert replay(scratch, versions, FIRST, last, policy=rules).troubles == []
        end = shanghai(f"{FIRST + timedelta(days=days)} 00:00").timestamp()
        replayed = [row for row in fetch_ledger(scratch) if row[1] < end]
    play_in_airflow(house, days)
    really = fetch_ledger(shop.engine)
    missing, more = (
        sorted(set(map(str, replayed)) - set(map(str, really))),
        sorted(set(map(str, really)) - set(map(str, replayed))),
    )
    assert (missing, more) == ([], []), "only in the replay, only in Airflow"
    assert really == replayed and len(fingerprint(shop.engine, JOURNEY)) == 64
    kinds = {row[10:12] for row in really}
    assert {("send", None), ("skip", "holdout"), ("skip", "no_consent")} <= kinds, "or there is little to compare"
    figures = f"{shop.count('enrollments')} enrollments, {shop.count('messages')} messages"
    print(f"{days} days, {figures}, decisions {sorted(kinds, key=str)}")


def test_three_days_in_airflow_leave_the_ledger_of_the_replay(house, shop):
    compare(house, shop, 3)


@pytest.mark.soak
def test_a_fortnight_in_airflow_leaves_the_ledger_of_the_replay(house, shop):
    compare(house, shop, 14)
