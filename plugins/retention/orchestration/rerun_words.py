"""What a re-run of a step is asked and what it answers, and both in words. Reads and decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from retention.errors import RetentionError

WHO = {
    "failed": "refused or bounced, and nothing else has reached them",
    "never_attempted": "still to be handed over, or skipped for a reason that may have changed",
    "unknown": "nobody knows whether it arrived; you say that it did not",
    "everyone": "everybody who was sent this step, once more",
}
"""Whom a re-run is for."""

ORDER = ("waiting", "arrived", "unknown", "failed", "withheld", "again", "skipped")
"""Where people stand (rerun/make_fates.sql), in the order in which it is told."""

FOR_NOW = "skipped for now"
"""What `again` is called: for a reason that may have changed."""

LEAST_REASON = 3
"""Characters of a reason."""

SHOWN = 30
"""Cohorts that are listed one by one."""


@dataclass(frozen=True)
class Wish:
    """A step of the cohorts that entered on days `first` to `last` of the journey's zone, both inclusive; `who`: of WHO; `mode`:
    live, test or None for both."""

    journey: str
    step: str
    first: date
    last: date
    who: str
    reason: str
    mode: str | None = None


@dataclass(frozen=True)
class Repeated:
    """What a re-run does to one cohort, in people. `fates`: where they stood before; `sends`: who gets a message, `twice` of them
    had one before, or may have had; `held_back`: reason -> who does not; `note`: why nothing is done at all."""

    cohort_id: int
    cohort_at: datetime
    mode: str
    fates: dict[str, int] = field(default_factory=dict)
    sends: int = 0
    twice: int = 0
    held_back: dict[str, int] = field(default_factory=dict)
    note: str | None = None
    shards: tuple[dict, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For --json and XCom; instants as ISO text."""
        return {**asdict(self), "cohort_at": self.cohort_at.isoformat(), "shards": list(self.shards)}


def sum_up(done: Sequence[Repeated]) -> dict[str, int]:
    """Over all cohorts: `sends`, `twice`, `held_back` in people."""
    return {
        "sends": sum(it.sends for it in done),
        "twice": sum(it.twice for it in done),
        "held_back": sum(sum(it.held_back.values()) for it in done),
    }


def list_twice(done: Sequence[Repeated]) -> dict[int, int]:
    """What there is to approve: cohort_id -> how many get the step who had it before, or may have."""
    return {it.cohort_id: it.twice for it in done if it.twice}


def say_fates(fates: dict[str, int]) -> str:
    """Where the people of a cohort stood, in the order of fates: "141 arrived, 14 skipped"."""
    return ", ".join(f"{fates[fate]:,} {FOR_NOW if fate == 'again' else fate}" for fate in ORDER if fates.get(fate))


def say_numbers(it: Repeated) -> str:
    """One line for whoever watches."""
    if it.note and not it.sends:
        return it.note
    parts = [f"{it.sends:,} would get a message" if it.sends != 1 else "1 would get a message"]
    if it.twice:
        parts.append(f"{it.twice:,} of them had one before, or may have had")
    parts += [f"{count:,} not: {reason}" for reason, count in sorted(it.held_back.items())]
    return "; ".join(parts) + (f" ({it.note})" if it.note else "")


def parse_days(given: str) -> tuple[date, date]:
    """The days that a text names: "2026-12-01", or "2026-12-01..2026-12-07". Raises RetentionError."""
    begins, dots, ends = given.partition("..")
    try:
        first = date.fromisoformat(begins.strip())
        return first, date.fromisoformat(ends.strip()) if dots else first
    except ValueError:
        raise RetentionError(
            f'cohorts: "{given}" is no day and no span of days. Write 2026-12-01, or 2026-12-01..2026-12-07.'
        ) from None


def write_numbers(wish: Wish, found: Sequence[Repeated]) -> str:
    """The numbers of a re-run as Markdown, for whoever is to approve it."""
    sums = sum_up(found)
    lines = [
        f"**{wish.journey} / {wish.step}**, {len(found)} {'cohort' if len(found) == 1 else 'cohorts'}, for: {wish.who.replace('_', ' ')}",
        "",
        f"Why: {wish.reason.strip()}",
        "",
        f"**{sums['sends']:,}** people would get a message, **{sums['twice']:,}** of them had it before, or may have. "
        f"{sums['held_back']:,} would not get one.",
        "",
        "| cohort | mode | where they stand | would get it | had it before | would not, and why |",
        "| --- | --- | --- | ---: | ---: | --- |",
    ]
    for it in found[:SHOWN]:
        why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(it.held_back.items())) or it.note or ""
        lines.append(f"| {it.cohort_at:%Y-%m-%d %H:%M} | {it.mode} | {say_fates(it.fates)} | {it.sends:,} | {it.twice:,} | {why} |")
    if len(found) > SHOWN:
        lines += ["", f"... and {len(found) - SHOWN} more"]
    return "\n".join(lines)
