"""The same days by the engine's replay and by real Airflow runs: the ledgers are identical, row by row.

Short here, over a small shop; `make soak` plays the shipped birthday care over half a year of the sample store."""

from __future__ import annotations

import heapq
import shutil
import time
from collections import Counter
from datetime import date, timedelta

import pytest
import time_machine

from retention.journey.files import read_files
from retention.journey.load import load
from retention.journey.policy import read_policy
from retention.journey.scores import load_scores
from retention.orchestration.replay import fingerprint, replay
from retention.orchestration.sampling import load_sample
from retention.orchestration.scoring import bring_scores
from retention.store.queries import run
from retention.store.scratch import scratch_store
from tests.world import INCLUDE, World, shanghai

JOURNEY = "birthday_care"
FIRST = date(2026, 11, 5)
SCORED = timedelta(hours=5, minutes=15)
"""When the DAG scoring scores, on each day."""


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


class Days:
    """Some days of the journey, played twice. `refresh`: brings scores up, as the DAG scoring does before the cohorts of a day."""

    def __init__(self, house, world, first: date, days: int, refresh=None):
        self.house, self.world, self.first, self.days, self.refresh = house, world, first, days, refresh
        house.parse()
        self.versions = {JOURNEY: load(read_files(house.include)).versions[JOURNEY]}
        journey = self.versions[JOURNEY].journey
        self.length = journey.length + timedelta(days=1, hours=12)
        """Until a cohort's last step is through, its hours of contact and its books included."""

    def in_the_replay(self) -> list[tuple]:
        rules = read_policy(read_files(self.house.include))
        refresh = self.refresh and (lambda on, begins: self.refresh(on, begins + SCORED))
        with scratch_store(self.world.engine, as_it_happened=True) as scratch:
            # What is due within its days alone is decided: it plays on, and its later cohorts are left out.
            last = self.first + timedelta(days=self.days) + self.length
            assert replay(scratch, self.versions, self.first, last, policy=rules, refresh=refresh).troubles == []
            end = shanghai(f"{self.first + timedelta(days=self.days)} 00:00").timestamp()
            return [row for row in fetch_ledger(scratch) if row[1] < end]

    def in_airflow(self, tell=lambda day: None) -> list[tuple]:
        """One run a day, asked again at each moment at which something of it may be due, the clock moving on alone."""
        steps, turns = self.versions[JOURNEY].journey.steps, set()
        for n in range(self.days):
            at = shanghai(f"{self.first + timedelta(days=n)} 06:00")
            dues = {self.versions[JOURNEY].journey.due_at(step, at) for step in steps}
            turns |= {(moment, n, at) for moment in {at, *dues, at + self.length}}
        queue = sorted(turns)
        with time_machine.travel(queue[0][0], tick=False) as clock:
            while queue:
                moment, n, at = heapq.heappop(queue)
                clock.move_to(moment)
                if moment == at:
                    tell(at)
                    if self.refresh:
                        self.refresh(self.world.engine, at.replace(hour=0) + SCORED)
                    self.house.start(JOURNEY, f"day{n}", at, run_type="scheduled")
                states = self.house.work(JOURNEY, f"day{n}")
                assert "failed" not in states.values(), states
                if moment == at + self.length:
                    assert states["run"] == "success", states
                for (waits,) in self.world.rows(
                    "select distinct not_before from batches join cohorts using (cohort_id)"
                    " where cohort_at = :at and state = 'ready' and not_before > :now",
                    at=at, now=moment,
                ):  # fmt: skip
                    if (waits, n, at) not in turns:
                        turns.add((waits, n, at))
                        heapq.heappush(queue, (waits, n, at))
        return fetch_ledger(self.world.engine)

    def compare(self, **told) -> list[tuple]:
        replayed, really = self.in_the_replay(), self.in_airflow(**told)
        ours, theirs = set(map(str, replayed)), set(map(str, really))
        assert (sorted(ours - theirs), sorted(theirs - ours)) == ([], []), "only in the replay, only in Airflow"
        assert really == replayed and len(fingerprint(self.world.engine, JOURNEY)) == 64
        kinds = {row[10:12] for row in really}
        assert {("send", None), ("skip", "holdout"), ("skip", "no_consent")} <= kinds, "or there is little to compare"
        return really


def test_three_days_in_airflow_leave_the_ledger_of_the_replay(house, shop):
    Days(house, shop, FIRST, 3).compare()


@pytest.mark.soak
def test_half_a_year_of_the_sample_store_leaves_the_ledger_of_the_replay(house, engine, capsys):
    for kept in ("journeys/birthday_care.yaml", "templates/birthday"):  # as it ships, by tiers and so by scores
        shutil.rmtree(house.include / kept) if (house.include / kept).is_dir() else (house.include / kept).unlink()
        copy = shutil.copytree if (INCLUDE / kept).is_dir() else shutil.copy
        copy(INCLUDE / kept, house.include / kept)
    first, length = date(2026, 5, 3), 182
    house.change(JOURNEY, starts_on=first.isoformat())
    load_sample(engine, 2_000, 7, "2026-11-15")
    scores = load_scores(house.include)

    def tell(line) -> None:
        with capsys.disabled():
            print(line, flush=True)

    days = Days(house, World(engine), first, length, refresh=lambda on, at: bring_scores(on, at, scores))
    began = time.monotonic()
    rows = days.compare(tell=lambda at: at.day in (1, 16) and tell(at))
    found = Counter(row[10:12] for row in rows)
    tell(f"{length} days, {len({row[:4] for row in rows})} enrollments, {len(rows)} rows, {time.monotonic() - began:.0f} s: {found}")
