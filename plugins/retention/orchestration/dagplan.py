"""A journey's DAG as plain objects, and its page in words. Knows no Airflow, so that it is tested without."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from retention.errors import Problem
from retention.journey.firing import moments_on
from retention.journey.coupon_words import describe_coupon
from retention.journey.load import Version
from retention.journey.models import Journey, Step

SPARE_RUNS = 2


@dataclass(frozen=True)
class StepPlan:
    """One task group: `wait` → `plan` → `deliver_<channel>` for each channel. With a fallback the same again, that long
    after the step is due."""

    step_id: str
    channels: tuple[str, ...]
    tooltip: str
    fallback_s: float = 0.0


@dataclass(frozen=True)
class DagPlan:
    """All that the adapter needs. `problems` is what is wrong with the journey's file: its `enroll` then fails with it."""

    dag_id: str
    title: str
    schedule: str
    timezone: str
    starts_on: date
    look_back: timedelta
    max_active_runs: int
    owner: str
    tags: tuple[str, ...]
    words: str
    steps: tuple[StepPlan, ...]
    problems: tuple[Problem, ...] = ()


def pool_of(channel: str) -> str:
    """The Airflow pool that bounds what is sent on a channel at the same time."""
    return f"retention_{channel}"


def plan_dag(version: Version, problems: list[Problem] | None = None, in_flight: Sequence[Version] = ()) -> DagPlan:
    """The DAG of one journey. A channel that was taken off a step stays while cohorts `in_flight` may use it."""
    journey = version.journey
    return DagPlan(
        dag_id=journey.journey,
        title=journey.title,
        schedule=journey.schedule,
        timezone=journey.timezone,
        starts_on=journey.starts_on,
        look_back=journey.length,
        max_active_runs=count_active_runs(journey),
        owner=journey.owner,
        tags=("retention", journey.status, "live" if journey.live else "outbox only", *_broken_tag(problems)),
        words=describe(version, problems or []),
        steps=tuple(
            StepPlan(
                step.id,
                _list_channels(step, in_flight),
                _describe_moment(step),
                step.send.fallback.total_seconds() if step.send.fallback else 0.0,
            )
            for step in journey.steps
        ),
        problems=tuple(problems or ()),
    )


def _list_channels(step: Step, in_flight: Sequence[Version]) -> tuple[str, ...]:
    earlier = [old for version in in_flight for old in version.journey.steps if old.id == step.id]
    return tuple(dict.fromkeys(channel for it in (step, *earlier) for channel in it.send.order))


def count_active_runs(journey: Journey) -> int:
    """How many cohorts can be under way at once: the journey's days times its firings a day, and two to spare."""
    monday = journey.starts_on + timedelta(days=7 - journey.starts_on.weekday())
    a_day = max(1, max(len(moments_on(journey, monday + timedelta(days=day))) for day in range(7)))
    return math.ceil(journey.length / timedelta(days=1)) * a_day + SPARE_RUNS


def describe(version: Version, problems: list[Problem]) -> str:
    """The journey in Markdown: who, when, what, with the words of every message."""
    journey = version.journey
    lines = [f"# {journey.title} (`{journey.journey}`)"]
    if problems:
        lines += ["", "**Its file is broken; nobody new enters until it is mended. Cohorts in flight go on.**", ""]
        lines += [f"* `{problem}`" for problem in problems]
    lines += [
        "",
        f"* **Who:** {_describe_who(journey)}",
        f"* **When:** `{journey.schedule}` {journey.timezone}, from {journey.starts_on}",
        f"* **Status:** {journey.status}, {'live' if journey.live else 'outbox only: nothing really goes out'}",
    ]
    if journey.goal:
        target = f", target {journey.goal.target:.0%}" if journey.goal.target is not None else ""
        lines.append(f"* **Goal:** {journey.goal.event} within {journey.goal.within.days} days{target}")
    for step in journey.steps:
        lines += ["", f"## {step.id}: {_describe_moment(step)}"]
        if step.coupon:
            lines += [f"Coupon: {describe_coupon(it)}." for it in step.coupons]
        if step.only_if:
            lines.append(f"Only if {', and '.join(f'`{it}`' for it in step.only_if)}.")
        how = "each of" if step.send.each else "the first that reaches the customer of"
        lines.append(f"On {how}: {', '.join(step.send.order)}.")
        if step.send.fallback:
            hours = step.send.fallback.total_seconds() / 3600
            lines.append(f"What has bounced {hours:g} h later is sent on the next of them.")
        template = version.templates[step.send.template]
        for (channel, locale), part in sorted(template.parts.items()):
            if channel in step.send.order:
                subject = f"Subject: {part.subject}\n\n" if part.subject else ""
                lines += ["", f"**{channel}, {locale}**", "", "```text", f"{subject}{part.text.strip()}", "```"]
    return "\n".join(lines)


def _describe_who(journey: Journey) -> str:
    named = ", then ".join(f"`{name}`" for name in journey.audience)
    arms = "".join(f", {name} {share} %" for name, share in (journey.variants or {}).items())
    return f"audience {named}, holdout {journey.holdout:.0%}{'; of the rest' + arms[1:] if arms else ''}"


def _describe_moment(step: Step) -> str:
    hours = step.expires.total_seconds() / 3600
    late = f"{hours / 24:g} d" if hours >= 24 else f"{hours:g} h"
    retired = ", retired" if step.retired else ""
    return f"{step.at} (at most {late} late{retired})"


def _broken_tag(problems: list[Problem] | None) -> tuple[str, ...]:
    return ("broken file",) if problems else ()
