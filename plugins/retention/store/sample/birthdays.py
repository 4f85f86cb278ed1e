"""When the sample's customers were born: in the solar calendar, in the lunar one, or we do not know."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

import numpy as np
from lunar_python import LunarYear

from retention.store.sample.anchors import ANCHORS, anchored, is_anchor

YEARS = (1950, 2008)

LUNAR_SHARE = {True: 0.21, False: 0.0}
"""By `is_chinese`: with 70 % Chinese customers about 15 % of all."""
UNKNOWN_SHARE = 0.10
NO_YEAR_SHARE = 0.05
"""Of the known birthdays: a month and a day without a year."""

_JULIAN_DAY_OF_1970 = 2_440_588


@cache
def _lunar_months() -> tuple[np.ndarray, np.ndarray]:
    """The lunar months of `YEARS`: their first days as days since 1970, and rows of (year, month, is_leap)."""
    first_days, months = [], []
    for year in range(YEARS[0], YEARS[1] + 1):
        for month in LunarYear.fromYear(year).getMonthsInYear():
            first_days.append(int(month.getFirstJulianDay()) - _JULIAN_DAY_OF_1970)
            months.append((year, abs(month.getMonth()), month.getMonth() < 0))
    end = LunarYear.fromYear(YEARS[1] + 1).getMonth(1)
    first_days.append(int(end.getFirstJulianDay()) - _JULIAN_DAY_OF_1970)
    return np.array(first_days), np.array(months)


def draw_birthdays(rng: np.random.Generator, is_chinese: np.ndarray, today: date) -> dict[str, np.ndarray]:
    """The five birth columns. A lunar birthday is given as lunar year, month, day and whether the month was a leap one.

    A lunar birth is a day drawn evenly and then converted, so leap months and 30th days come as often as in life.
    """
    count = len(is_chinese)
    kind = rng.random(count)
    lunar_share = np.where(is_chinese, LUNAR_SHARE[True], LUNAR_SHARE[False])
    is_unknown = kind < UNKNOWN_SHARE
    is_lunar = ~is_unknown & (kind < UNKNOWN_SHARE + lunar_share)
    year, month, day = _solar(rng, count)
    first_days, months = _lunar_months()
    born = rng.integers(first_days[0], first_days[-1], count)
    row = np.searchsorted(first_days, born, side="right") - 1
    is_leap = np.zeros(count, bool)
    year[is_lunar], month[is_lunar], is_leap[is_lunar] = months[row][is_lunar].T
    day[is_lunar] = (born - first_days[row] + 1)[is_lunar]
    has_no_year = rng.random(count) < NO_YEAR_SHARE

    def place(index: int, calendar: str, y: int, m: int, d: int, leap: bool = False) -> None:
        is_unknown[index], is_lunar[index], has_no_year[index] = False, calendar == "lunar", False
        year[index], month[index], day[index], is_leap[index] = y, m, d, leap

    for index, anchor in enumerate(ANCHORS[:count]):
        if anchor.birthday_in is not None:
            celebrated = today + timedelta(days=anchor.birthday_in)
            place(index, "solar", 1984 + 4 * (index % 5), celebrated.month, celebrated.day)
    for index in anchored(count, "born_29_february"):
        place(index, "solar", 1992, 2, 29)
    for index in anchored(count, "born_in_leap_month"):
        place(index, "lunar", 1984, 10, 8, leap=True)
    for index in anchored(count, "born_on_lunar_day_30"):
        place(index, "lunar", 1984, 1, 30)

    calendar = np.where(is_lunar, "lunar", "solar").astype(object)
    columns = {"birth_calendar": calendar, "birth_year": year, "birth_month": month, "birth_day": day}
    columns = {name: values.astype(object) for name, values in columns.items()}
    columns["birth_year"][has_no_year & ~is_anchor(count)] = None
    for values in columns.values():
        values[is_unknown] = None
    return {**columns, "birth_leap_month": is_leap}


def _solar(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first, end = (np.datetime64(f"{year}-01-01", "D").astype(int) for year in (YEARS[0], YEARS[1] + 1))
    born = rng.integers(first, end, count).astype("datetime64[D]")
    months = born.astype("datetime64[M]")
    year = born.astype("datetime64[Y]").astype(int) + 1970
    return year, months.astype(int) % 12 + 1, (born - months).astype(int) + 1
