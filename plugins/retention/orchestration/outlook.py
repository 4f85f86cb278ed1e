"""What a journey will do next, in words a newcomer understands. Reads only; the caller says the time."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine

from retention.audience.entry import find_cohort
from retention.delivery.plan import Decided, count_decisions
from retention.journey.firing import last_moment, next_moment
from retention.journey.load import Version
from retention.journey.models import Journey, Step


def say_duration(span: timedelta) -> str:
    """3 h 12 m, 2 d 4 h, 40 s: the two largest units, rounded down."""
    seconds = int(abs(span).total_seconds())
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} m" if minutes else f"{hours} h"
    return f"{minutes} m" if minutes else f"{seconds} s"


def say_moment(moment: datetime, journey: Journey, now: datetime) -> str:
    """10:00 Asia/Shanghai, in 3 h 12 m; with its day when that is not today."""
    local = moment.astimezone(journey.zone)
    day = "" if local.date() == now.astimezone(journey.zone).date() else f"{local:%Y-%m-%d} "
    distance = f"in {say_duration(moment - now)}" if moment > now else f"{say_duration(now - moment)} ago"
    return f"{day}{local:%H:%M} {journey.timezone}, {distance}"


def look_ahead(engine: Engine, version: Version, now: datetime) -> list[str]:
    """Lines that say what today's cohort does and when; where today's moment is still to come, when that is."""
    journey = version.journey
    if journey.status == "draining":
        return ["nobody enters any more; cohorts under way finish"]
    if journey.status == "stopped":
        return ["nobody enters and nothing is sent; steps that come due are recorded as stopped"]
    moment = last_moment(journey, now)
    if moment is None or journey.cohort_day(moment) != journey.cohort_day(now):
        return [f"the next cohort enters at {say_moment(next_moment(journey, now), journey, now)}"]
    with engine.connect() as conn:
        cohort = find_cohort(conn, journey.journey, moment, "live") or find_cohort(
            conn, journey.journey, moment, "test"
        )
        decided = count_decisions(conn, cohort.cohort_id) if cohort else []
    state = "has entered" if cohort else "enters as soon as Airflow gets to it"
    lines = [f"today's cohort ({moment:%H:%M} {journey.timezone}) {state}"]
    for step in journey.steps:
        if not step.retired:
            mine = [it for it in decided if it.step == step.id]
            lines.append(_say_step(journey, step, moment, now, mine))
    return lines


def _say_step(journey: Journey, step: Step, moment: datetime, now: datetime, decided: list[Decided]) -> str:
    due_at, expires_at = journey.due_at(step, moment), journey.expires_at(step, moment)
    if now < due_at:
        return f"{step.id} due {say_moment(due_at, journey, now)}"
    was_due = f"{step.id} was due {say_moment(due_at, journey, now)}"
    if decided:
        sends = sum(it.count for it in decided if it.decision == "send")
        return f"{was_due}: {sends} to send, {sum(it.count for it in decided) - sends} not, each with its reason"
    if now < expires_at:
        return f"{was_due}; it may still go out until {say_moment(expires_at, journey, now)}"
    return f"{was_due} and has expired"
