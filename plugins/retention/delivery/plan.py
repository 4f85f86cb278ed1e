"""Plan: decides a step for every enrollment of a cohort, once, with one reason. Hands nothing to anybody."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, select, text

from retention.delivery.channels import BATCH_SIZES
from retention.journey.load import Version
from retention.store.queries import look_as_of, run
from retention.store.tables import REDECIDABLE, cohorts


@dataclass(frozen=True)
class Decided:
    """A count of equal decisions: `reason` is None for a send."""

    step: str
    channel: str
    decision: str
    reason: str | None
    count: int

    def as_dict(self) -> dict:
        return asdict(self)


def fetch_cohort(conn: Connection, cohort_id: int) -> Row:
    """The cohort's row. Raises NoResultFound for an id that isn't there."""
    return conn.execute(select(cohorts).where(cohorts.c.cohort_id == cohort_id)).one()


def is_stopped(conn: Connection, journey: str) -> bool:
    """Whether `retention stop` stands for this journey or for all."""
    return conn.scalar(
        text("select exists (select from stops where lifted_at is null and (journey is null or journey = :journey))"),
        {"journey": journey},
    )


def plan_step(
    conn: Connection,
    version: Version,
    cohort_id: int,
    step_id: str,
    *,
    now: datetime,
    facts_at: datetime | None = None,
    is_stopped_by_file: bool = False,
) -> list[Decided]:
    """Decide one step of a cohort in the caller's transaction; the counts of all its decisions.

    Facts are those that had occurred and were recorded by the step's due moment (or `facts_at`: a dry run of the
    future sees only its beginning). `now` says what has expired and dates the rows. Calling it again adds nothing but
    new attempts for skips that may be decided again and come out differently.
    """
    cohort = fetch_cohort(conn, cohort_id)
    journey, step = version.journey, version.journey.step(step_id)
    due_at, not_after = journey.due_at(step, cohort.cohort_at), journey.expires_at(step, cohort.cohort_at)
    conn.execute(
        text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": f"retention.plan|{cohort.mode}|{journey.journey}"}
    )
    look_as_of(conn, facts_at or due_at, zone=journey.timezone)
    local_now = now.astimezone(journey.zone)
    goal, coupon = journey.goal, step.coupon
    run(
        conn,
        "plan/decide_step",
        cohort_id=cohort_id,
        mode=cohort.mode,
        journey=journey.journey,
        step=step_id,
        now=now,
        due_at=due_at,
        not_after=not_after,
        is_expired=now >= not_after,
        is_stopped=is_stopped_by_file or is_stopped(conn, journey.journey),
        is_retired=step.retired,
        is_made_up=local_now.date() > due_at.astimezone(journey.zone).date(),
        local_midnight=local_now.replace(hour=0, minute=0, second=0, microsecond=0),
        redecidable=list(REDECIDABLE),
        channels=list(step.send.order),
        on_each=step.send.each,
        purpose=version.templates[step.send.template].purpose,
        exit_unsubscribed="unsubscribed" in journey.exit_when,
        exit_goal_met="goal_met" in journey.exit_when and goal is not None,
        goal_event=goal.event if goal else "",
        goal_within_s=goal.within.total_seconds() if goal else 0,
        only_if=step.only_if or "",
        default_locale=journey.default_locale,
        batch_sizes=json.dumps(BATCH_SIZES),
        coupon_kind=coupon.kind if coupon else None,
        coupon_value=coupon.value if coupon else None,
        coupon_valid_until=journey.coupon_valid_until(coupon, due_at) if coupon else None,
    )
    return count_decisions(conn, cohort_id, step_id)


def count_decisions(conn: Connection, cohort_id: int, step_id: str | None = None) -> list[Decided]:
    """The decisions that stand, of one step or of all, as counts."""
    return [Decided(*row) for row in run(conn, "plan/count_decisions", cohort_id=cohort_id, step=step_id)]
