"""Hours of contact: when a message may be handed over to somebody in a zone. Pure reckoning; knows no table, no channel.

A window is the receiver's local time from `opens` up to, but not including, `closes`; over midnight where it closes before
it opens. What a change to summer time leaves out of a day is moved on; of what comes twice, both are open.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones


@dataclass(frozen=True)
class Window:
    """Hours of a day, in the receiver's local time."""

    opens: time
    closes: time

    def holds(self, local: time) -> bool:
        """Whether this time of the day is inside."""
        if self.opens < self.closes:
            return self.opens <= local < self.closes
        return local >= self.opens or local < self.closes


@cache
def _known_zones() -> frozenset[str]:
    return frozenset(available_timezones())


@cache
def find_zone(name: str | None) -> ZoneInfo | None:
    """The zone of this name, None for what is no IANA time zone."""
    return ZoneInfo(name) if name and name in _known_zones() else None


def is_open(moment: datetime, zone: ZoneInfo, window: Window | None) -> bool:
    """Whether a message may be handed over at this moment; always where there is no window."""
    return window is None or window.holds(moment.astimezone(zone).time())


def find_opening(moment: datetime, zone: ZoneInfo, window: Window | None) -> datetime:
    """The first moment from `moment` on at which a message may be handed over, in UTC."""
    moment = moment.astimezone(UTC)
    if is_open(moment, zone, window):
        return moment
    today = moment.astimezone(zone).date()
    for days in range(
        -1, 5
    ):  # a day whose window a change of the clocks leaves out has none; a zone may skip a whole day
        opening = start_of(today + timedelta(days=days), window.opens, zone)
        if opening > moment and is_open(opening, zone, window):
            return opening
    raise AssertionError(f"{window} never opens in {zone.key}")


def start_of(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """The moment of a wall time on a day, in UTC; one that is left out is moved on by as much, of two the first is it."""
    return datetime.combine(day, wall, tzinfo=zone).astimezone(UTC)
