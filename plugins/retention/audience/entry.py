"""Entry: who joins a journey at one scheduled moment. Owns cohorts, enrollments and entry refusals; sends nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, time, timedelta
from itertools import accumulate

from sqlalchemy import Connection, Row, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from retention.audience.select import fetch_audience
from retention.errors import RetentionError
from retention.journey.load import Version
from retention.journey.models import Journey
from retention.store.audit import note
from retention.store.queries import look_as_of, run
from retention.store.staging import analyze
from retention.store.tables import cohorts, enrollments
from retention.store.versions import remember

ALL_TIME = timedelta(days=3650)
"""How far back the first cohort looks to write down the backlog it does not take in."""

HOLD_FACTOR = 3
HOLD_AT_LEAST = 500
HOLD_NEEDS_COHORTS = 3


@dataclass(frozen=True)
class Entered:
    """What became of one cohort's entry. `refused` is reason -> customers; `is_joined`: the cohort was there before;
    `held`: why nobody was taken in yet, and what to do."""

    cohort_id: int
    mode: str
    enrolled: int
    holdout: int
    eligible: int
    is_joined: bool
    refused: dict[str, int] = field(default_factory=dict)
    held: str | None = None

    def as_dict(self) -> dict:
        return asdict(self)


def find_cohort(conn: Connection, journey: str, cohort_at: datetime, mode: str) -> Row | None:
    """The cohort of this mode at this moment, or None."""
    return conn.execute(
        select(cohorts).where(cohorts.c.journey == journey, cohorts.c.cohort_at == cohort_at, cohorts.c.mode == mode)
    ).first()


def choose_mode(
    conn: Connection, version: Version, cohort_at: datetime, asked: str | None, *, is_past: bool = False
) -> str:
    """The mode of a cohort: the one asked for; else that of the cohort that is there; else what the journey says.

    A journey that goes live does so at its next cohort: a moment that was entered as a test stays a test.
    `is_past`: it is entered for a day gone by, so what the journey says is not enough to be live.
    """
    if asked == "live" and not version.journey.live:
        asked = "test"
    if asked:
        return asked
    for mode in ("live", "test"):
        if find_cohort(conn, version.journey.journey, cohort_at, mode):
            return mode
    return "live" if version.journey.live and not is_past else "test"


def _refuse_moment(journey: Journey, cohort_at: datetime, mode: str, now: datetime) -> None:
    """Whoever enters is shut out of other days: no cohort before its time, but for a test that plays all of it at once."""
    local, name = cohort_at.astimezone(journey.zone), journey.journey
    if cohort_at > now:
        raise RetentionError(
            f"cohort of {local:%Y-%m-%d %H:%M}: that moment has not come yet, and whoever entered would be shut out of the cohorts "
            f"before it. `retention plan {name} --date {local:%Y-%m-%d}` shows who would enter as far as is known today."
        )
    if mode == "live" and local.date() < journey.starts_on:
        raise RetentionError(
            f"cohort of {local:%Y-%m-%d %H:%M}: {name} starts on {journey.starts_on}. Write an earlier starts_on, or take mode test."
        )


def enter_cohort(
    conn: Connection,
    version: Version,
    cohort_at: datetime,
    *,
    mode: str | None,
    is_past: bool = False,
    now: datetime,
    known_at: datetime | None = None,
    is_on_time: bool = False,
    is_size_approved: bool = False,
    actor: str = "engine",
    on_progress: Callable[[str], None] = lambda line: None,
) -> Entered:
    """Take in the cohort of `cohort_at`, in the caller's transaction. A second call joins what the first one made.

    Facts are those that had occurred by `cohort_at` and were recorded by `known_at` (default: the same moment; later
    where what was known then was not fit to go on with); `now` only dates the record. With
    `is_on_time` (tests only) each step pretends to run at its due moment.
    A cohort far above its usual size that nobody approved is noted and comes back `held`. Raises AudienceError, and RetentionError
    for a moment that has not come, or a live one before the journey starts.
    """
    journey = version.journey
    mode = choose_mode(conn, version, cohort_at, mode, is_past=is_past)
    conn.execute(
        text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": f"retention.entry|{mode}|{journey.journey}"}
    )
    cohort = find_cohort(conn, journey.journey, cohort_at, mode)
    if cohort is not None and (cohort.status != "held" or not is_size_approved):
        entered = _count_entered(conn, cohort, is_joined=True)
        if cohort.status == "held":
            return replace(entered, held=_held_text(journey.journey, cohort_at, cohort.candidates))
        return entered

    if cohort is None and not is_on_time:
        _refuse_moment(journey, cohort_at, mode, now)
    is_draining = journey.status != "active"
    _make_candidate_tables(conn)
    fresh, older = (0, 0) if is_draining else _fetch_candidates(conn, version, cohort_at, mode, known_at)
    _judge(conn, version, cohort_at, mode, known_at)
    candidates = conn.scalar(text("select count(*) from judged where reason is null")) or 0
    if is_draining:
        on_progress(f"status {journey.status}: nobody enters any more")
    on_progress(
        f"audience {', '.join(journey.audience)}: {fresh} named within the window, {candidates} would enter"
        + (f"; {older} occasions of the time before" if older else "")
    )

    limit = journey.entry.hold_above or _usual_limit(conn, journey.journey, cohort_at, mode)
    is_held = limit is not None and candidates > limit and not is_size_approved
    if cohort is None:
        version_id = remember(conn, journey.journey, version.content_hash, version.content, now)
        cohort = conn.execute(
            insert(cohorts)
            .values(
                mode=mode,
                journey=journey.journey,
                cohort_at=cohort_at,
                version_id=version_id,
                status="held" if is_held else "open",
                is_on_time=is_on_time,
                candidates=candidates,
                created_at=now,
            )
            .returning(cohorts)
        ).one()
    else:
        conn.execute(update(cohorts).where(cohorts.c.cohort_id == cohort.cohort_id).values(status="open"))
        note(conn, now, actor, "approve_size", journey.journey, {"candidates": candidates}, cohort.cohort_id)
    if is_held:
        note(conn, now, actor, "hold", journey.journey, {"candidates": candidates, "limit": limit}, cohort.cohort_id)
        held = _held_text(journey.journey, cohort_at, candidates, limit)
        return replace(_count_entered(conn, cohort, is_joined=False), held=held)

    about = {"cohort_id": cohort.cohort_id, "mode": mode, "journey": journey.journey}
    run(conn, "entry/insert_steps", cohort_id=cohort.cohort_id, steps=_write_steps(version, cohort_at))
    run(conn, "entry/insert_enrollments", cohort_at=cohort_at, **about)
    refused = {reason: count for reason, count in run(conn, "entry/insert_refusals", **about)}
    return replace(_count_entered(conn, cohort, is_joined=False), refused=refused)


def _write_steps(version: Version, cohort_at: datetime) -> str:
    journey = version.journey
    return json.dumps(
        [
            {
                "step": step.id,
                "purpose": version.templates[step.send.template].purpose,
                "due_at": journey.due_at(step, cohort_at).isoformat(),
                "not_after": journey.expires_at(step, cohort_at).isoformat(),
            }
            for step in journey.steps
            if not step.retired
        ]
    )


def _make_candidate_tables(conn: Connection) -> None:
    for table in ("judged", "audience_ranks", "audience_fresh", "audience_backlog"):
        conn.execute(text(f"drop table if exists pg_temp.{table}"))
    for table in ("audience_fresh", "audience_backlog"):
        conn.execute(
            text(f"create temporary table {table} (customer_id text, occurrence text, nth smallint) on commit drop")
        )


def _fetch_candidates(
    conn: Connection, version: Version, cohort_at: datetime, mode: str, known_at: datetime | None
) -> tuple[int, int]:
    """Fill audience_fresh, and audience_backlog where the journey starts or ramps; the number of rows in each."""
    journey = version.journey
    window_start = cohort_at - journey.entry.window

    def fetch(start: datetime, into: str) -> int:
        rows = 0
        for nth, name in enumerate(journey.audience, start=1):
            conn.execute(text(f"alter table {into} alter column nth set default {nth}"))
            rows += fetch_audience(
                conn,
                name,
                version.audiences[name],
                as_of=cohort_at,
                known_at=known_at,
                window_start=start,
                zone=journey.timezone,
                into=into,
            )
        return rows

    fresh = fetch(window_start, "audience_fresh")
    is_first = not conn.scalar(select(func.count()).where(cohorts.c.journey == journey.journey, cohorts.c.mode == mode))
    if not is_first and journey.entry.backlog != "ramp":
        return fresh, 0
    fetch(cohort_at - ALL_TIME, "audience_backlog")
    conn.execute(
        text(
            "delete from audience_backlog b using audience_fresh f"
            " where (b.customer_id, b.occurrence) = (f.customer_id, f.occurrence)"
        )
    )
    return fresh, conn.scalar(text("select count(*) from audience_backlog"))


def _judge(conn: Connection, version: Version, cohort_at: datetime, mode: str, known_at: datetime | None) -> None:
    journey = version.journey
    ways = sorted(
        {
            (channel, version.templates[step.send.template].purpose)
            for step in journey.steps
            if not step.retired
            for channel in step.send.order
        }
    )
    look_as_of(conn, cohort_at, known_at=known_at, zone=journey.timezone)
    _rank(conn, journey.entry.rank_by)
    reenter_after = journey.entry.reenter_after
    rests = journey.entry.rest_after
    variants = journey.variants or {}
    run(
        conn,
        "entry/judge_candidates",
        mode=mode,
        journey=journey.journey,
        cohort_at=cohort_at,
        # A customer keeps an arm for a calendar year; then the lot is drawn anew.
        arm_salt=f"{journey.journey}|{journey.cohort_day(cohort_at).year}",
        holdout=journey.holdout,
        arms=list(variants) or ["main"],
        # Where each arm ends on the line from 0 to 1.
        ends=[share / 100 for share in accumulate(variants.values())] or [1.0],
        # With one audience there is nothing to tell apart.
        audiences=list(journey.audience) if len(journey.audience) > 1 else [],
        channels=[channel for channel, _ in ways],
        purposes=[purpose for _, purpose in ways],
        reenter_s=None if reenter_after is None else reenter_after.total_seconds(),
        rested=list(rests),
        rests_s=[rest.total_seconds() for rest in rests.values()],
        not_while_in=list(journey.entry.not_while_in),
        backlog=journey.entry.backlog,
        max_per_day=_count_left(conn, version, cohort_at, mode),
    )


def _count_left(conn: Connection, version: Version, cohort_at: datetime, mode: str) -> int | None:
    """How many may still enter on the cohort's day, after the cohorts before it on that day; None: no limit."""
    journey = version.journey
    most = journey.entry.max_per_day
    if most is None:
        return None
    midnight = datetime.combine(journey.cohort_day(cohort_at), time(), tzinfo=journey.zone)
    entered = select(func.count()).where(
        enrollments.c.cohort_id == cohorts.c.cohort_id, cohorts.c.mode == mode, cohorts.c.journey == journey.journey,
        cohorts.c.cohort_at >= midnight, cohorts.c.cohort_at < cohort_at,
    )  # fmt: skip
    return max(0, most - (conn.scalar(entered) or 0))


def _rank(conn: Connection, rank_by: str | None) -> None:
    """Fill audience_ranks: who goes first where not all may enter; empty where that is by lot."""
    run(conn, "entry/make_ranks")
    if rank_by is None:
        return
    statements = {
        "value": "entry/rank_by_value",
        "churn": "entry/rank_by_churn",
        "tier": "entry/rank_by_tier",
        "newest": "entry/rank_by_newest",
    }
    run(conn, statements[rank_by])
    analyze(conn, "audience_ranks")


def _usual_limit(conn: Connection, journey: str, cohort_at: datetime, mode: str) -> int | None:
    """Above how many candidates a cohort is held: three times the median of the last cohorts, never under 500.

    None while there are fewer than three earlier cohorts to compare with."""
    usual, earlier = run(conn, "entry/usual_size", mode=mode, journey=journey, cohort_at=cohort_at).one()
    if earlier < HOLD_NEEDS_COHORTS:
        return None
    return max(HOLD_AT_LEAST, round(HOLD_FACTOR * usual))


def _held_text(journey: str, cohort_at: datetime, candidates: int, limit: int | None = None) -> str:
    usual = f", above {limit}" if limit is not None else ""
    moment = cohort_at.isoformat(timespec="minutes")
    return (
        f"{journey}: the cohort of {moment} would take in {candidates} customers{usual}; it is held. "
        f"Look at `retention plan {journey} --date {moment}`; to let it in: `retention approve {journey} "
        f"--date {moment}`, then clear the task `enroll` of this run."
    )


def _count_entered(conn: Connection, cohort: Row, *, is_joined: bool) -> Entered:
    counted = conn.execute(
        select(
            func.count(),
            func.count().filter(enrollments.c.arm == "holdout"),
            func.count().filter(enrollments.c.is_eligible),
        ).where(enrollments.c.cohort_id == cohort.cohort_id)
    ).one()
    enrolled, holdout, eligible = counted
    return Entered(cohort.cohort_id, cohort.mode, enrolled, holdout, eligible, is_joined)
