"""How single values are written in YAML - durations, moments, percentages, cron - and what to say when they are not.

Every parser takes what the YAML reader found (text, number, true/false, list, mapping) and returns the value, or raises
the error made by `refuse`, whose `what` shows the value and whose `remedy` is what to write instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import total_ordering
from zoneinfo import ZoneInfo, available_timezones

from croniter import croniter
from pydantic_core import PydanticCustomError

_LISTED = 16
LONGEST = timedelta(days=3650)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_UNIT_WORDS = [
    ("w", r"w|wk|wks|weeks?|周|星期"),
    ("d", r"d|days?|天|日"),
    ("h", r"h|hrs?|hours?|小时"),
    ("m", r"m|mins?|minutes?|分钟?"),
]
DURATION_PATTERN = r"^[0-9]{1,5}[mhdw]$"
MOMENT_PATTERN = r"^(day [0-9]{1,4}, ([01]?[0-9]|2[0-3]):[0-5][0-9]|entry \+ [0-9]{1,5}[mhdw])$"
PERCENT_PATTERN = r"^[0-9]{1,3}(\.[0-9]{1,2})?%$"
ID_PATTERN = r"^[a-z][a-z0-9_]{0,59}$"
LOCALE_PATTERN = r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?$"


def refuse(what: str, remedy: str = "") -> PydanticCustomError:
    """The error to raise from a validator: `what` follows "WHERE: ", `remedy` is a sentence of its own."""
    return PydanticCustomError("refused", "{what} {remedy}", {"what": what, "remedy": remedy})


def show(value: object) -> str:
    """A value as it stands in a message: text in quotes and shortened, other things as a marketer would name them."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "a group of keys"
    text = " ".join(str(value).split())
    text = text if len(text) <= 60 else text[:57] + "..."
    return f'"{text}"'


FULL_WIDTH = dict(zip("：，“”［］｛｝－＃", ':,""[]{}-#', strict=True))
"""Signs that a Chinese keyboard types where YAML wants the plain ones."""


def say_full_width(wide: str) -> tuple[str, str]:
    """("a full-width ： ...", what to type instead) for one of FULL_WIDTH."""
    then = ", then a space" if wide in "：，" else ""
    return f"a full-width {wide} (Chinese keyboard)", f"Type {FULL_WIDTH[wide]} instead{then}."


def did_you_mean(word: object, options: Iterable[str]) -> str:
    """`Did you mean "x"?` for the nearest option, or an empty text; for a word that should have ended at a full-width sign, that."""
    wide = next((sign for sign in str(word) if sign in "：，［］｛｝"), None)
    if wide:
        had, remedy = say_full_width(wide)
        return f"There is {had} in it. {remedy}"
    by_lower = {option.lower(): option for option in options}
    near = get_close_matches(str(word).lower()[:200], by_lower, n=1, cutoff=0.6)
    return f'Did you mean "{by_lower[near[0]]}"?' if near else ""


def list_options(label: str, options: Iterable[str]) -> str:
    """`Channels: email, sms.`, shortened when there are many."""
    names = sorted(options)
    if not names:
        return f"{label}: there are none yet."
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{label}: {', '.join(names[:_LISTED])}{more}."


@total_ordering
@dataclass(frozen=True)
class Moment:
    """A step's place in time: `day` counts from the cohort's local date, `time` is local to the journey's zone. Or `after`:
    so long after the cohort enters, whenever that is."""

    day: int
    time: time
    after: timedelta | None = None

    @property
    def offset(self) -> timedelta:
        """How long after 00:00 of day 0 it is, on the clock; with `after` as if the cohort entered at 00:00."""
        return self.after or timedelta(days=self.day, hours=self.time.hour, minutes=self.time.minute)

    def __lt__(self, other: Moment) -> bool:
        return self.offset < other.offset

    def __str__(self) -> str:
        if self.after:
            return f"entry + {write_duration(self.after)}"
        return f"day {self.day}, {self.time:%H:%M}"


def _guess(value: object) -> str:
    return unicodedata.normalize("NFKC", str(value)).strip().lower()


def parse_duration(value: object) -> timedelta:
    """`90m`, `24h`, `3d`, `2w`: longer than nothing and at most ten years."""
    if isinstance(value, timedelta):
        return value
    how = "Write a number and a unit: 90m, 24h, 3d or 2w."
    if isinstance(value, str) and re.fullmatch(DURATION_PATTERN, value):
        duration = int(value[:-1]) * _UNITS[value[-1]]
        if not duration:
            raise refuse(f"{show(value)} is no time at all.", "Write at least 1m.")
        if duration > LONGEST:
            raise refuse(f"{show(value)} is longer than ten years.", "Write at most 3650d.")
        return duration
    if isinstance(value, bool | list | dict):
        raise refuse(f"{show(value)} is not a duration.", how)
    text = _guess(value)
    if re.match(r"-\s*[0-9]", text):
        raise refuse(f"{show(value)} is negative.", "A duration counts forward: " + how[0].lower() + how[1:])
    number = re.match(r"([0-9]{1,4})\s*(.*)$", text)
    if number:
        rest = number[2]
        unit = next((u for u, words in _UNIT_WORDS if re.fullmatch(words, rest)), None if rest else "d")
        if unit and int(number[1]):
            raise refuse(f"{show(value)} is not a duration.", f'Did you mean "{int(number[1])}{unit}"? {how}')
        if unit:
            raise refuse(f"{show(value)} is no time at all.", how)
    raise refuse(f"{show(value)} is not a duration.", how)


def write_duration(duration: timedelta) -> str:
    """The way a marketer writes it: whole days as `3d`, whole hours as `36h`, else minutes."""
    for unit in ("d", "h"):
        count, rest = divmod(duration, _UNITS[unit])
        if not rest:
            return f"{count}{unit}"
    return f"{duration // _UNITS['m']}m"


def parse_optional_duration(value: object) -> timedelta | None:
    """A duration, or `never`, which is None."""
    if value is None or value == "never":
        return None
    try:
        return parse_duration(value)
    except PydanticCustomError as error:
        told = error.context or {}
        remedy = did_you_mean(value, ["never"]) or str(told["remedy"]).rstrip(".") + ", or never."
        raise refuse(str(told["what"]), remedy) from None


def parse_percent(value: object) -> float:
    """`10%` is 0.1."""
    if isinstance(value, str) and re.fullmatch(PERCENT_PATTERN, value):
        fraction = Decimal(value[:-1]) / 100
        if fraction > 1:
            raise refuse(f"{show(value)} is more than everybody.", "Write at most 100%.")
        return float(fraction)
    how = "Write a number with a percent sign: 10%."
    number = re.fullmatch(r"([0-9]{1,3}(\.[0-9]{1,2})?)\s*(%|percent|pct)?", _guess(value))
    if isinstance(value, bool) or not number:
        raise refuse(f"{show(value)} is not a percentage.", how)
    meant = write_percent(value) if isinstance(value, float) and value <= 1 else f"{number[1]}%"
    raise refuse(f"{show(value)} is not a percentage.", f'Did you mean "{meant}"? {how}')


def write_percent(fraction: float) -> str:
    """0.1 is `10%`."""
    return f"{Decimal(str(round(fraction * 100, 2))).normalize():f}%"


_LOOSE_MOMENT = re.compile(r"(?:day|第)?\s*(-?[0-9]{1,4})\s*(?:天|日)?[\s,、]+(?:at )?([0-9]{1,2})[:.]([0-9]{2})")


def parse_moment(value: object) -> Moment:
    """`day 0, 10:00`."""
    if isinstance(value, Moment):
        return value
    how = "Write the day and the time of day: day 0, 10:00."
    if isinstance(value, str):
        if after := re.fullmatch(r"\s*entry\s*\+\s*(\S.*)", value):
            return Moment(0, time(), parse_duration(after[1].strip()))
        if re.fullmatch(MOMENT_PATTERN, value):
            day, hour, minute = (int(n) for n in re.findall(r"[0-9]+", value))
            if timedelta(days=day) > LONGEST:
                raise refuse(f"{show(value)} is more than ten years on.", "Write at most day 3650.")
            return Moment(day, time(hour, minute))
        text = _guess(value)
        loose = _LOOSE_MOMENT.fullmatch(text)
        if loose:
            day, hour, minute = (int(n) for n in loose.groups())
            if day < 0:
                earlier = "To reach people earlier, choose an audience that names them earlier."
                raise refuse(
                    f"{show(value)} lies before the cohort enters.", f"Day 0 is the day the cohort enters. {earlier}"
                )
            if hour > 23 or minute > 59:
                raise refuse(f"{show(value)} is no time of day.", "Times run from 00:00 to 23:59.")
            raise refuse(f"{show(value)} is not a moment.", f'Did you mean "day {day}, {hour:02}:{minute:02}"?')
        if re.fullmatch(r"day [0-9]{1,4}", text):
            raise refuse(f"{show(value)} has no time of day.", f"{how} Inside {{ }}, put it in quotes.")
    raise refuse(f"{show(value)} is not a moment.", how)


def parse_date(value: object) -> date:
    """`2026-11-01`."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    how = "Write year-month-day: 2026-11-01."
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        loose = re.fullmatch(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?", _guess(value))
        near = f'Did you mean "{int(loose[1]):04}-{int(loose[2]):02}-{int(loose[3]):02}"? ' if loose else ""
        raise refuse(f"{show(value)} is not a date.", near + how)
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise refuse(f"{show(value)} is not in the calendar.", how) from None
    if not 2000 <= day.year <= 2100:
        raise refuse(f"{show(value)} lies outside 2000 to 2100.", how)
    return day


def parse_schedule(value: object) -> str:
    """A cron expression of five fields that fires at some time. Read by the library Airflow itself uses."""
    how = 'Write five fields in quotes - minute, hour, day, month, weekday: "0 6 * * *" is every day at 06:00.'
    if not isinstance(value, str):
        raise refuse(f"{show(value)} is not a schedule.", how)
    if value[:1] in "“”‘’「＂" and value:
        raise refuse(f"{show(value)} has Chinese quotation marks.", 'Use straight ones: "0 6 * * *".')
    fields = value.split()
    if len(fields) != 5:
        has = f"has {len(fields)} field{'' if len(fields) == 1 else 's'}, not five"
        raise refuse(f"{show(value)} {has}.", how)
    if not re.fullmatch(r"[0-9A-Za-z*/,\- ]{9,200}", value) or re.search(r"[0-9]{5}", value):
        raise refuse(f"{show(value)} is not a schedule.", how)
    try:
        croniter(" ".join(fields), datetime(2026, 1, 1, tzinfo=UTC)).get_next(datetime)
    # croniter meets odd fields with more kinds of exception than it documents.
    except Exception as error:
        if "BadDate" in type(error).__name__:
            raise refuse(f"{show(value)} never comes: there is no such day.", how) from None
        raise refuse(f"{show(value)} is not a schedule.", how) from None
    return " ".join(fields)


def last_firing(schedule: str) -> time:
    """The latest time of day at which a schedule fires."""
    minutes, hours, *_ = croniter.expand(schedule)[0]
    return time(23 if "*" in hours else max(hours), 59 if "*" in minutes else max(minutes))


_CHINESE_NICKNAMES = ("beijing", "asia/beijing", "china", "cst", "gmt+8", "utc+8", "+8", "+08:00", "北京", "中国")


def parse_timezone(value: object) -> str:
    """An IANA name such as Asia/Shanghai."""
    how = "Write a region and a city: Asia/Shanghai, Europe/London, America/New_York."
    if not isinstance(value, str):
        raise refuse(f"{show(value)} is not a time zone.", how)
    if re.fullmatch(r"[A-Za-z0-9_+\-]{1,40}(/[A-Za-z0-9_+\-]{1,40}){0,2}", value):
        try:
            ZoneInfo(value)
            return value
        # A folder of the zone database, or a name no file system likes: all mean "no such zone".
        except (KeyError, ValueError, OSError):
            pass
    if _guess(value).replace(" ", "") in _CHINESE_NICKNAMES:
        near = 'Did you mean "Asia/Shanghai"?'
    else:
        near = did_you_mean(value.replace(" ", "_"), available_timezones())
    raise refuse(f"{show(value)} is not a time zone.", near or how)


def parse_locale(value: object) -> str:
    """A language, and a country where it matters: zh-CN, en."""
    how = "Write a language, or language-COUNTRY: zh-CN, en, en-GB."
    if isinstance(value, str) and re.fullmatch(LOCALE_PATTERN, value):
        return value
    loose = re.fullmatch(r"([a-z]{2,3})[-_ ]([a-z]{2})(\..*)?", _guess(value)[:40])
    near = f'Did you mean "{loose[1]}-{loose[2].upper()}"?' if loose else ""
    raise refuse(f"{show(value)} is not a locale.", near or how)
