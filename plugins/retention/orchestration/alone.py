"""A cohort without Airflow: the same calls, one after the other, as far as they are due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from retention.audience.entry import Entered
from retention.delivery.deliver import Handled, count_outcomes
from retention.delivery.plan import Decided, count_decisions
from retention.errors import TooEarly
from retention.journey.load import Version
from retention.journey.models import Step
from retention.orchestration.cohort import Clock, Progress, deliver, due_at, enroll, plan, quiet, read_clock, settle
from retention.orchestration.cohort import pinned_version as read_pinned
from retention.orchestration.outlook import say_moment


@dataclass(frozen=True)
class CohortRun:
    """How far a cohort came. `waiting`: a line for each step that is not due; empty once the books are closed."""

    cohort_at: datetime
    entered: Entered
    decided: list[Decided]
    handled: list[Handled]
    waiting: list[str]

    def as_dict(self) -> dict:
        return {
            "cohort_at": self.cohort_at.isoformat(),
            **self.entered.as_dict(),
            "steps": [d.as_dict() for d in self.decided],
            "outcomes": [vars(h) for h in self.handled],
            "waiting": self.waiting,
            "is_settled": not self.waiting,
        }


def run_cohort(
    engine: Engine,
    version: Version,
    cohort_at: datetime,
    *,
    mode: str | None = None,
    is_past: bool = False,
    is_on_time: bool = False,
    actor: str = "engine",
    clock: Clock = read_clock,
    on_progress: Progress = quiet,
) -> CohortRun:
    """Enter the cohort of this moment and take every step that is due; the rest is told, not waited for.

    Safe to repeat: what was decided stands, what was handed over stays. Raises what `cohort` raises.
    """
    is_stopped = version.journey.status == "stopped"
    entered = enroll(
        engine, version, cohort_at,
        mode=mode, is_past=is_past, is_on_time=is_on_time, actor=actor, clock=clock, on_progress=on_progress,
    )  # fmt: skip
    pinned = read_pinned(engine, entered.cohort_id)
    waiting = []
    for step in pinned.journey.steps:
        moment, now = due_at(engine, entered.cohort_id, step.id), clock()
        if moment and moment > now:
            waiting.append(f"{step.id} due {say_moment(moment, pinned.journey, now)}")
            continue
        waiting += _take(engine, entered.cohort_id, step, is_stopped=is_stopped, clock=clock, on_progress=on_progress)
        fallback_at = moment + step.send.fallback if moment and step.send.fallback else None
        if fallback_at and fallback_at > now:
            waiting.append(f"{step.id} fallback {say_moment(fallback_at, pinned.journey, now)}")
        elif step.send.fallback:
            waiting += _take(
                engine, entered.cohort_id, step, is_fallback=True,
                is_stopped=is_stopped, clock=clock, on_progress=on_progress,
            )  # fmt: skip
    if not waiting:
        settle(engine, entered.cohort_id, clock=clock)
    with engine.connect() as conn:
        return CohortRun(
            cohort_at.astimezone(pinned.journey.zone),
            entered,
            count_decisions(conn, entered.cohort_id),
            count_outcomes(conn, entered.cohort_id),
            waiting,
        )


def _take(
    engine: Engine,
    cohort_id: int,
    step: Step,
    *,
    is_fallback: bool = False,
    is_stopped: bool,
    clock: Clock,
    on_progress: Progress,
) -> list[str]:
    """Plan and deliver a step; a line for each channel that waits for its receivers' hours."""
    planned = plan(
        engine, cohort_id, step.id,
        is_fallback=is_fallback, is_stopped=is_stopped, clock=clock, on_progress=on_progress,
    )  # fmt: skip
    waiting = []
    for channel in step.send.order:
        for shard in planned.shards:
            try:
                deliver(
                    engine, cohort_id, step.id, channel, **shard,
                    is_stopped=is_stopped, clock=clock, on_progress=on_progress,
                )  # fmt: skip
            except TooEarly as early:
                waiting.append(str(early))
    return waiting
