"""A step once more, for some of the people of past cohorts: who they are, what would happen, and doing it, once.

Knows no Airflow. A dry run is the real thing taken back. What is done stands in the audit log with who, why and how many, in the
transaction that decides it: under the same key nothing happens twice. Delivery is the cohort's own (cohort.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from retention.delivery.plan import count_people, plan_repeat, plan_step
from retention.delivery.reconcile import REPORTED
from retention.errors import RetentionError
from retention.journey.load import Version
from retention.journey.notation import did_you_mean, list_options
from retention.journey.policy import Policy
from retention.orchestration.cohort import (
    Clock,
    Progress,
    deal_batches,
    find_facts_at,
    pinned_version,
    quiet,
    read_clock,
    refuse_bad_data,
    step_clock,
)
from retention.orchestration.rerun_words import LEAST_REASON, WHO, Repeated, Wish, say_numbers
from retention.store.audit import note
from retention.store.queries import run
from retention.store.staging import analyze
from retention.store.tables import REDECIDABLE

FATES = {"failed": ("failed",), "unknown": ("unknown",), "everyone": ("arrived", "unknown", "failed")}
"""Where those stand whom a re-run contacts anew (rerun/make_fates.sql)."""

MOST_COHORTS = 200


def rerun(
    engine: Engine,
    version: Version,
    wish: Wish,
    *,
    key: str,
    actor: str,
    policy: Policy,
    is_dry: bool,
    is_stopped: bool = False,
    approved_by: str | None = None,
    approved: Mapping[int, int] | None = None,
    clock: Clock = read_clock,
    on_progress: Progress = quiet,
) -> list[Repeated]:
    """Decide the step anew for those whom the wish names, cohort by cohort; what there is to deliver then is in `shards`.

    `version`: the journey's files now, for its zone. `key`: names this re-run; again with the same key nothing is decided, and what
    is left to deliver is told. `approved`: cohort_id -> how many of it may be contacted again who had it, or may have had it, as
    somebody was shown; None asks nothing. Where there are more in one cohort, nothing is decided for any. All that forbids a message
    forbids it here, too: consent, caps, hours, exits, expiry, stop. Raises RetentionError for a wish that can't be, or for more
    than was approved; DataHeld."""
    cohorts = find_cohorts(engine, version, wish)
    _refuse_unknown_step(engine, cohorts, wish)
    how = (wish, key, actor, policy)
    if approved is not None and not is_dry:
        for row in cohorts:  # before anything is decided for the first of them
            it = _rerun_cohort(engine, row, *how, True, is_stopped, None, None, clock, quiet)
            _refuse_more(it, approved)
    done: list[Repeated] = []
    for number, row in enumerate(cohorts, 1):
        done.append(
            _rerun_cohort(engine, row, *how, is_dry, is_stopped, approved_by, approved, clock, on_progress)
        )
        on_progress(f"cohort {number} of {len(cohorts)} ({done[-1].cohort_at:%Y-%m-%d %H:%M}): {say_numbers(done[-1])}")
    return done


def find_cohorts(engine: Engine, version: Version, wish: Wish) -> Sequence[Any]:
    """The cohorts that a wish names: rows of cohort_id, cohort_at, mode, status. Raises RetentionError with what there is."""
    if wish.who not in WHO:
        near = did_you_mean(wish.who, WHO)
        raise RetentionError(
            f'who: "{wish.who}" is not known. {near} {list_options("There is", WHO)}'.replace("  ", " ")
        )
    if len(wish.reason.strip()) < LEAST_REASON:
        raise RetentionError("reason: is missing. Say in a few words why people are to get this step again.")
    if wish.last < wish.first:
        raise RetentionError(f"cohorts: {wish.last} is before {wish.first}. Write the earlier day first.")
    zone = version.journey.zone
    begins, ends = (datetime.combine(day, time(), zone) for day in (wish.first, wish.last + timedelta(days=1)))
    with engine.connect() as conn:
        found = run(
            conn, "rerun/list_cohorts", journey=wish.journey, begins_at=begins, ends_at=ends, mode=wish.mode
        ).all()  # fmt: skip
        if not found:
            days = (
                run(conn, "rerun/list_days", journey=wish.journey, zone=version.journey.timezone, most=7)
                .scalars()
                .all()
            )
    span = f"{wish.first}" if wish.first == wish.last else f"{wish.first} to {wish.last}"
    if not found:
        of_mode = f" in mode {wish.mode}" if wish.mode else ""
        had = f"The last days with one: {', '.join(map(str, days))}." if days else "It has had none yet."
        raise RetentionError(f"cohorts: {wish.journey} had no cohort{of_mode} on {span}. {had}")
    if len(found) > MOST_COHORTS:
        raise RetentionError(
            f"cohorts: {len(found)} on {span} are too many for one re-run. Take {MOST_COHORTS} at most."
        )
    return found


def _refuse_unknown_step(engine: Engine, cohorts: Sequence[Any], wish: Wish) -> None:
    """Raises RetentionError where none of the cohorts has the step; one that has it not among others that do is told as it is."""
    steps = {step.id for row in cohorts for step in pinned_version(engine, row.cohort_id).journey.steps}
    if wish.step not in steps:
        raise RetentionError(f"step: {_say_no_step(wish.step, sorted(steps), 'these cohorts')}")


def _say_no_step(step: str, steps: Sequence[str], where: str) -> str:
    near = did_you_mean(step, steps)
    return f'there is no step "{step}" in {where}. {near} {list_options("Steps", steps)}'.replace("  ", " ")


def _rerun_cohort(
    engine: Engine,
    row: Any,
    wish: Wish,
    key: str,
    actor: str,
    policy: Policy,
    is_dry: bool,
    is_stopped: bool,
    approved_by: str | None,
    approved: Mapping[int, int] | None,
    clock: Clock,
    on_progress: Progress,
) -> Repeated:
    version = pinned_version(engine, row.cohort_id)
    journey = version.journey
    about = {"cohort_id": row.cohort_id, "cohort_at": row.cohort_at.astimezone(journey.zone), "mode": row.mode}
    steps = [step.id for step in journey.steps]
    if wish.step not in steps:
        return Repeated(**about, note=_say_no_step(wish.step, steps, "this cohort"))
    now = step_clock(engine, version, row.cohort_id, wish.step, clock)()
    due_at = journey.due_at(journey.step(wish.step), row.cohort_at)
    if now < due_at:
        return Repeated(**about, note=f"the step is not due before {due_at:%Y-%m-%d %H:%M}: nothing to repeat yet")
    with engine.connect() as conn, conn.begin() as transaction:
        refuse_bad_data(conn)
        conn.execute(text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": f"retention.rerun|{row.cohort_id}"})
        before = run(conn, "rerun/find_done", cohort_id=row.cohort_id, step=wish.step, key=key).first()
        if before:
            shards = _list_shards(conn, row.cohort_id, wish.step)
            told = {name: before.detail[name] for name in ("fates", "sends", "twice", "held_back")}
            return Repeated(**about, **told, note="was done by this re-run already", shards=shards)
        done = _decide(conn, version, row, wish, policy, now, is_dry, is_stopped, on_progress)
        found = Repeated(**about, **done, shards=_list_shards(conn, row.cohort_id, wish.step))
        if is_dry:
            transaction.rollback()
            return found
        _refuse_more(found, approved)
        detail = {"key": key, **_describe(wish), **done, "planned_at": now.isoformat()}
        if approved_by:
            detail["approved_by"] = approved_by
        note(conn, clock(), actor, "rerun", wish.journey, detail, row.cohort_id)
        refuse_bad_data(conn)
    return found


def _refuse_more(found: Repeated, approved: Mapping[int, int] | None) -> None:
    more = found.twice - approved.get(found.cohort_id, 0) if approved is not None else 0
    if more > 0:
        raise RetentionError(
            f"cohort of {found.cohort_at:%Y-%m-%d %H:%M}: {more:,} more than were approved had the step before, or may have. "
            "Nothing of this cohort was changed, and an approval counts for the numbers it showed. Start the re-run anew, and look "
            "at its numbers."
        )


def _decide(
    conn: Connection,
    version: Version,
    row: Any,
    wish: Wish,
    policy: Policy,
    now: datetime,
    is_dry: bool,
    is_stopped: bool,
    on_progress: Progress,
) -> dict[str, Any]:
    """Decide in the caller's transaction: fates, sends, twice and held_back of Repeated."""
    which = {"cohort_id": row.cohort_id, "step": wish.step}
    run(conn, "rerun/make_fates", **which, redecidable=list(REDECIDABLE), reported=list(REPORTED))
    analyze(conn, "planned_fates")
    fates = dict(map(tuple, run(conn, "rerun/count_fates")))
    how = {
        "policy": policy,
        "now": now,
        "facts_at": find_facts_at(conn, version, row.cohort_id, wish.step),
        "is_stopped_by_file": is_stopped,
        "is_dry": is_dry,
        "on_warning": on_progress,
    }
    if wish.who == "never_attempted":
        plan_step(conn, version, row.cohort_id, wish.step, **how)
        is_planned = conn.scalar(text("select to_regclass('pg_temp.planned_decisions') is not null"))
        people = count_people(conn) if is_planned else []
    else:
        if wish.who == "unknown":
            run(conn, "rerun/settle_by_hand", **which, reported=list(REPORTED), now=now)
            run(conn, "deliver/close_batches", now=now)
        people = plan_repeat(
            conn, version, row.cohort_id, wish.step, fates=FATES[wish.who], **how
        )
    waiting = fates.get("waiting", 0) if wish.who == "never_attempted" else 0
    held_back: dict[str, int] = {}
    for it in people:
        if it.reason:
            held_back[it.reason] = held_back.get(it.reason, 0) + it.people
    return {
        "fates": fates,
        "sends": waiting + sum(it.people for it in people if not it.reason),
        "twice": sum(it.people for it in people if not it.reason and it.is_twice),
        "held_back": held_back,
    }


def _list_shards(conn: Connection, cohort_id: int, step_id: str) -> tuple[dict, ...]:
    open_batches = run(conn, "plan/count_open_batches", cohort_id=cohort_id, step=step_id).all()
    return tuple(deal_batches(open_batches))


def _describe(wish: Wish) -> dict[str, str]:
    return {"step": wish.step, "who": wish.who, "reason": wish.reason.strip()}


def _numbers(it: Repeated) -> dict[str, Any]:
    return {"fates": it.fates, "sends": it.sends, "twice": it.twice, "held_back": it.held_back}


def remember_look(
    engine: Engine, wish: Wish, found: Sequence[Repeated], *, key: str, actor: str, clock: Clock = read_clock
) -> None:
    """Keep what a dry run counted, for the run's page."""
    with engine.begin() as conn:
        for it in found:
            detail = {"key": key, **_describe(wish), **_numbers(it), "note": it.note}
            note(conn, clock(), actor, "rerun_counted", wish.journey, detail, it.cohort_id)


def note_question(engine: Engine, journey: str, *, key: str, actor: str, approved: Mapping[int, int], at: datetime) -> None:
    """Keep what somebody is asked to approve: cohort_id -> how many get the step who had it, or may have.

    A run asks once: Airflow shows a question as it was first written, so with other numbers it can't be asked again, and that
    raises RetentionError. Asking the same once more is fine."""
    asked = find_question(engine, key)
    if asked is None:
        with engine.begin() as conn:
            detail = {"key": key, "approved": {str(cohort_id): count for cohort_id, count in approved.items()}}
            note(conn, at, actor, "rerun_asked", journey, detail)
    elif asked != dict(approved):
        raise RetentionError(
            f"This run asked for {sum(asked.values()):,} people, and by now there are {sum(approved.values()):,}; its question can't be "
            "written anew. Trigger rerun_step again, and look at its numbers."
        )


def find_question(engine: Engine, key: str) -> dict[int, int] | None:
    """What the re-run `key` has asked an approval for: cohort_id -> people; None if it has asked nothing."""
    with engine.connect() as conn:
        found = run(conn, "rerun/find_question", key=key).scalar()
    return None if found is None else {int(cohort_id): count for cohort_id, count in found.items()}


def note_refusal(engine: Engine, journey: str, *, key: str, actor: str, at: datetime) -> None:
    """Keep that somebody rejected a re-run."""
    with engine.begin() as conn:
        note(conn, at, actor, "rerun_rejected", journey, {"key": key})


def count_fates(engine: Engine, key: str) -> dict[str, int]:
    """What became of the messages that the re-run `key` decided: fate -> messages."""
    with engine.connect() as conn:
        return dict(map(tuple, run(conn, "rerun/count_made", key=key)))
