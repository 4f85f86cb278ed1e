"""The time a sample store covers, its hours of the day, and the delay between a fact and its record.

Inside the sample every moment is a float: days since the start of the period. Only the finished columns are instants.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zlib import crc32
from zoneinfo import ZoneInfo

import numpy as np

DAYS = 730
SECOND = 1 / 86_400

# How busy each hour of the customer's own day is; only the proportions matter.
_BUSY_HOURS = np.array([1, 0.6, 0.4, 0.3, 0.3, 0.6, 1.5, 3, 4, 5, 6, 6, 7, 6, 5, 5, 5, 6, 7, 9, 10, 9, 6, 3], float)


@dataclass(frozen=True)
class Period:
    """`DAYS` days that end at the first instant of `today` in `timezone`; that instant itself is outside."""

    today: date
    timezone: str

    @property
    def midnight(self) -> datetime:
        return datetime.combine(self.today, time(), ZoneInfo(self.timezone))

    @property
    def ends_at(self) -> np.datetime64:
        """The end as UTC, like every instant of a sample."""
        return np.datetime64(self.midnight.astimezone(UTC).replace(tzinfo=None), "s")

    def instants(self, days: np.ndarray) -> np.ndarray:
        """Moments as UTC `datetime64[s]`, cut to whole seconds."""
        return self.ends_at - np.timedelta64(DAYS, "D") + np.floor(days * 86_400).astype("timedelta64[s]")

    def hours_ahead(self, timezone: str) -> int:
        """How many hours the clocks of `timezone` are ahead of the store's at the end of the period."""
        there = self.midnight.astimezone(ZoneInfo(timezone)).utcoffset()
        return round((there - self.midnight.utcoffset()).total_seconds() / 3600)


def draws(seed: int, part: str) -> np.random.Generator:
    """The random numbers of one part of the sample: more draws in one part leave the others as they are."""
    return np.random.default_rng([seed % 2**64, crc32(part.encode())])


def shape_days(days: np.ndarray, hours_ahead: np.ndarray) -> np.ndarray:
    """Moments that fall evenly over the day, moved to the customer's busy hours.

    Order is kept, nothing leaves its (store's) day, so nothing leaves the period either.
    """
    shaped = np.array(days, dtype=float)
    whole = np.floor(shaped)
    for ahead in np.unique(hours_ahead):
        here = hours_ahead == ahead
        busy = np.roll(_BUSY_HOURS, -ahead)
        share = np.concatenate([[0], np.cumsum(busy)]) / busy.sum()
        shaped[here] = whole[here] + np.interp(shaped[here] - whole[here], share, np.arange(25) / 24)
    return np.minimum(shaped, whole + 1 - SECOND)


def record(
    rng: np.random.Generator,
    days: np.ndarray,
    *,
    seconds: float,
    late_share: float,
    late_days: tuple[float, float],
    on_time: np.ndarray | None = None,
) -> np.ndarray:
    """When each fact was recorded: `seconds` later on average, a share of them days later, none after the end.

    `on_time` masks facts that are never late.
    """
    lag = 1 * SECOND + rng.exponential(seconds * SECOND, len(days))
    late = rng.random(len(days)) < late_share
    if on_time is not None:
        late &= ~on_time
    lag = np.where(late, rng.uniform(*late_days, len(days)), lag)
    return np.maximum(days, np.minimum(days + lag, DAYS - SECOND))
