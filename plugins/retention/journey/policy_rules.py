"""Rules of include/policy.yaml that need more than one key: caps that are never reached, journeys there are not, hours that
leave nothing open. Reads no file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from retention.journey.document import Document, Path, write_path
from retention.journey.fields import CHANNELS
from retention.journey.law import Law
from retention.journey.notation import ID_PATTERN, did_you_mean, list_options, show
from retention.journey.policy_file import PERIODS, Caps, PolicyFile

Finding = tuple[Path, str, str]

SHORTEST = 60
"""Minutes a day that have to be left open."""

_COUNTED = {"day": "a day", "week": "a week", "month": "a month"}


def check_policy(document: Document, said: PolicyFile, journeys: Collection[str], law: Law | None) -> None:
    """Add a problem to the document for each rule that is broken."""
    findings = [
        *_check_journeys(said, journeys),
        *_check_caps(said),
        *_check_topics(said),
        *_check_hours(said, law),
    ]
    for path, what, remedy in findings:
        document.complain(path, write_path(path, document.data) + what, remedy)


def _check_journeys(said: PolicyFile, journeys: Collection[str]) -> Iterator[Finding]:
    named: list[tuple[Path, str]] = [(("priority", index), name) for index, name in enumerate(said.priority)]
    named += [(("caps", "journeys", name), name) for name in said.caps.journeys]
    for path, name in named:
        if name not in journeys:
            remedy = f"{did_you_mean(name, journeys)} {list_options('Journeys', journeys)}".strip()
            yield path, f"unknown journey {show(name)}.", remedy


def _check_caps(said: PolicyFile) -> Iterator[Finding]:
    caps = said.caps
    blocks: list[tuple[Path, Caps]] = [(("caps", "all"), caps.all)]
    for channel in CHANNELS:
        block = getattr(caps.channels, channel)
        if block:
            blocks.append((("caps", "channels", channel), block))
    blocks.append((("caps", "journey"), caps.journey))
    blocks += [(("caps", "journeys", name), block) for name, block in caps.journeys.items()]
    for path, block in blocks:
        yield from _check_periods(path, block)
        if path != ("caps", "all"):
            yield from _check_within(path, block, caps.all)


def _check_periods(path: Path, block: Caps) -> Iterator[Finding]:
    """A cap that is never reached, because one over a longer time is reached before."""
    said = {period: most for period, most in block.said().items() if most is not None}
    for place, period in enumerate(PERIODS):
        for longer in PERIODS[place + 1 :]:
            if period in said and longer in said and said[period] > said[longer]:
                what = f"{said[period]} {_COUNTED[period]} is more than {said[longer]} {_COUNTED[longer]}: "
                yield (*path, period), what + "it is never reached.", f"Write at most {said[longer]}, or none."


def _check_within(path: Path, block: Caps, whole: Caps) -> Iterator[Finding]:
    """A cap that is never reached, because the one over all is reached before."""
    limits = whole.said()
    for period, most in block.said().items():
        limit = limits.get(period)
        if most is not None and limit is not None and most > limit:
            what = f"{most} {_COUNTED[period]} is above caps.all.{period}, {limit}: it is never reached."
            yield (*path, period), what, f"Write at most {limit}, or none."


def _check_topics(said: PolicyFile) -> Iterator[Finding]:
    for topic in said.topics:
        if not re.fullmatch(ID_PATTERN, topic):
            rule = "An id is made of small letters, digits and _, and begins with a letter."
            yield ("topics", topic), f"{show(topic)} can't be an id.", rule


def _check_hours(said: PolicyFile, law: Law | None) -> Iterator[Finding]:
    for channel in CHANNELS:
        own = getattr(said.quiet_hours, channel)
        if own is None:
            continue
        path: Path = ("quiet_hours", channel)
        if own.minutes < SHORTEST:
            what = f"only {own.minutes} minutes of the day are left, from {own.opens:%H:%M}."
            yield path, what, "Leave at least an hour."
            continue
        for row in law.rows_for(None, channel) if law else ():
            both = own.narrow(row.hours) if row.hours else own
            if both is None or both.minutes < SHORTEST:
                what = (
                    f"what they leave open, {own}, is outside {row.hours}, which the law asks for (law.yaml: {row.id})."
                )
                yield path, what, f"Leave at least an hour of {row.hours} open."
