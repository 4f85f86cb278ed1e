"""The engine over history: day by day, all journeys together, in a scratch database. What would have been sent to whom.

The calls are those of Airflow's tasks (cohort.py), in the order of their moments; the clock is each moment. Nothing is random but
coupon codes, so two replays of the same files over the same facts decide the same.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from sqlalchemy import Engine

from retention.errors import BooksOpen, CohortHeld, TooEarly
from retention.journey.firing import moments_on
from retention.journey.load import Version
from retention.journey.policy import Policy
from retention.orchestration import cohort
from retention.store.queries import run

Day = Callable[[date, int], None]
"""Told after each day how many messages have gone out until then."""


@dataclass(frozen=True)
class Replayed:
    """What a replay did. `decisions`: rows of day, journey, step, channel, decision, reason, messages; `contacts`: how many
    people got how many messages; `busiest`: the most that one person got on one day; `coupons`: by journey and step;
    `held`: cohorts that would have waited for an approval; `open`: cohorts under way at the end; `fingerprint`: the same for two
    replays that decided the same."""

    first: date
    last: date
    entered: list[dict] = field(default_factory=list)
    decisions: list[dict] = field(default_factory=list)
    contacts: list[dict] = field(default_factory=list)
    busiest: int = 0
    coupons: list[dict] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    open: int = 0
    troubles: list[str] = field(default_factory=list)
    fingerprint: str = ""

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def as_dict(self) -> dict:
        return {**vars(self), "first": self.first.isoformat(), "last": self.last.isoformat(), "days": self.days}


def replay(
    scratch: Engine,
    versions: Mapping[str, Version],
    first: date,
    last: date,
    *,
    policy: Policy,
    refresh: Callable[[Engine, datetime], None] | None = None,
    on_day: Day = lambda day, sent: None,
) -> Replayed:
    """Play the journeys from `first` to `last`, days in each journey's own zone, both inclusive, into the outbox of `scratch`.

    `starts_on` is not asked: the past is the point. Cohorts enter on the days given alone; what is due after the last day is not
    decided. `refresh`: brings scores up to a moment, called once a day before anybody enters. Raises AudienceError."""
    return _Play(scratch, versions, first, last, policy, refresh, on_day).run()


class _Play:
    def __init__(self, scratch, versions, first, last, policy, refresh, on_day):
        self._engine, self._versions, self._policy = scratch, versions, policy
        self._first, self._last, self._refresh, self._on_day = first, last, refresh, on_day
        self._queue: list[tuple] = []
        self._count = itertools.count()
        self._held: list[str] = []
        self._troubles: list[str] = []
        self._end = max(_day_end(version, last) for version in versions.values())

    def run(self) -> Replayed:
        days = [self._first + timedelta(days=n) for n in range((self._last - self._first).days + 1)]
        for day in days:
            for name in sorted(self._versions):
                version = self._versions[name]
                journey = version.journey.model_copy(update={"starts_on": date.min})
                for moment in moments_on(journey, day):
                    self._at(moment, 1, self._enter, version)
            if self._refresh:
                begins = min(_day_start(version, day) for version in self._versions.values())
                self._at(begins, 0, self._bring_scores)
        for day in days:
            self._play_until(max(_day_end(version, day) for version in self._versions.values()))
            with self._engine.connect() as conn:
                self._on_day(day, run(conn, "replay/count_sent").scalar_one())
        return self._report()

    def _at(self, moment: datetime, rank: int, what: Callable, *about) -> None:
        if moment < self._end:
            heapq.heappush(self._queue, (moment, rank, next(self._count), what, about))

    def _play_until(self, end: datetime) -> None:
        while self._queue and self._queue[0][0] < end:
            moment, _, _, what, about = heapq.heappop(self._queue)
            what(moment, *about)

    def _bring_scores(self, moment: datetime) -> None:
        self._refresh(self._engine, moment)

    def _enter(self, moment: datetime, version: Version) -> None:
        name, settings = version.journey.journey, {"mode": "test", "actor": "replay", "clock": lambda: moment}
        try:
            entered = cohort.enroll(self._engine, version, moment, **settings)
        except CohortHeld:
            self._held.append(f"{name} {moment.isoformat(timespec='minutes')}")
            entered = cohort.enroll(self._engine, version, moment, is_size_approved=True, **settings)
        if not entered.enrolled:
            return  # nobody to decide anything for
        for step in version.journey.steps:
            due = max(moment, version.journey.due_at(step, moment))
            self._at(due, 2, self._plan, version, entered.cohort_id, step.id, False)
            if step.send.fallback:
                self._at(due + step.send.fallback, 2, self._plan, version, entered.cohort_id, step.id, True)
        self._at(moment + version.journey.length + timedelta(hours=1), 4, self._settle, version, entered.cohort_id)

    def _plan(self, moment: datetime, version: Version, cohort_id: int, step_id: str, is_fallback: bool) -> None:
        is_stopped = version.journey.status == "stopped"
        planned = cohort.plan(
            self._engine, cohort_id, step_id,
            is_fallback=is_fallback, policy=self._policy, is_stopped=is_stopped, clock=lambda: moment,
        )  # fmt: skip
        with self._engine.connect() as conn:
            has_something = set(map(tuple, run(conn, "replay/list_open", cohort_id=cohort_id, step=step_id)))
        for channel in version.journey.step(step_id).send.order:
            for shard in planned.shards:
                if (channel, shard["wave"]) in has_something:
                    self._at(moment, 3, self._deliver, version, cohort_id, step_id, channel, shard)

    def _deliver(
        self, moment: datetime, version: Version, cohort_id: int, step_id: str, channel: str, shard: dict
    ) -> None:
        try:
            cohort.deliver(
                self._engine, cohort_id, step_id, channel, **shard,
                policy=self._policy, is_stopped=version.journey.status == "stopped",
                find_account=lambda name: None, clock=lambda: moment,
            )  # fmt: skip
        except TooEarly as early:
            self._at(
                max(early.at, moment + timedelta(minutes=1)),
                3,
                self._deliver,
                version,
                cohort_id,
                step_id,
                channel,
                shard,
            )

    def _settle(self, moment: datetime, version: Version, cohort_id: int) -> None:
        try:
            cohort.settle(self._engine, cohort_id, find_account=lambda name: None, clock=lambda: moment)
        except BooksOpen as books:
            self._troubles.append(str(books))

    def _report(self) -> Replayed:
        zone = next(iter(self._versions.values())).journey.timezone
        with self._engine.connect() as conn:
            found = {
                "entered": run(conn, "replay/count_entries"),
                "decisions": run(conn, "replay/count_decisions", zone=zone),
                "contacts": run(conn, "replay/count_contacts"),
                "coupons": run(conn, "replay/count_coupons"),
            }
            rows = {name: [dict(row._mapping) for row in result] for name, result in found.items()}
            busiest = run(conn, "replay/find_busiest", zone=zone).scalar_one()
            under_way = run(conn, "replay/count_open").scalar_one()
        return Replayed(
            self._first, self._last, **rows,
            busiest=busiest, held=self._held, open=under_way, troubles=self._troubles,
            fingerprint=fingerprint(self._engine),
        )  # fmt: skip


def fingerprint(engine: Engine, journey: str | None = None) -> str:
    """Sha256 over all that was decided for everybody, of one journey or all, whatever ids and codes it got."""
    digest = hashlib.sha256()
    with engine.connect() as conn:
        for row in run(conn, "replay/list_ledger", journey=journey):
            digest.update("\x1f".join("" if value is None else str(value) for value in row).encode() + b"\n")
    return digest.hexdigest()


def _day_start(version: Version, day: date) -> datetime:
    return datetime.combine(day, time(), version.journey.zone)


def _day_end(version: Version, day: date) -> datetime:
    return _day_start(version, day + timedelta(days=1))
