"""The kinds of value the rules of contact and the table of law take: hours, numbers of contacts, countries, periods.

Each parser takes what the YAML reader found and returns the value, or raises the error made by `refuse`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from retention.journey import notation
from retention.journey.notation import did_you_mean, parse_locale, refuse, show

HOURS_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"
DAY = 24 * 60


@dataclass(frozen=True)
class Hours:
    """When messages may be handed over: from `opens` up to, but not including, `closes`, in the receiver's local time; over
    midnight where it closes before it opens."""

    opens: time
    closes: time

    @property
    def minutes(self) -> int:
        """How long it is open a day."""
        return (_minute(self.closes) - _minute(self.opens)) % DAY

    def narrow(self, other: Hours) -> Hours | None:
        """The hours that both leave open; of two pieces the longer one. None if there are none."""
        opens, length = _minute(self.opens), self.minutes
        pieces = []
        for shift in (-DAY, 0, DAY):
            start = (_minute(other.opens) - opens) % DAY + shift
            begin, end = max(0, start), min(length, start + other.minutes)
            if begin < end:
                pieces.append((end - begin, begin, end))
        if not pieces:
            return None
        _, begin, end = max(pieces, key=lambda piece: (piece[0], -piece[1]))
        return Hours(_clock(opens + begin), _clock(opens + end))

    def __str__(self) -> str:
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"


def _minute(clock: time) -> int:
    return clock.hour * 60 + clock.minute


def _clock(minute: int) -> time:
    return time(minute % DAY // 60, minute % 60)


def _parse_span(value: object, example: str) -> tuple[time, time]:
    how = f"Write two times of day: {example}."
    if isinstance(value, str) and re.fullmatch(HOURS_PATTERN, value):
        first, last = (time.fromisoformat(word) for word in value.split("-"))
        if first == last:
            raise refuse(f"{show(value)} begins when it ends.", how)
        return first, last
    text = str(value).replace("：", ":") if isinstance(value, str) else ""
    loose = re.fullmatch(
        r"([0-9]{1,2})(?:[:.]([0-9]{2}))?\s*(?:-|–|—|~|～|to|bis|至|到)\s*([0-9]{1,2})(?:[:.]([0-9]{2}))?", text
    )
    if loose:
        numbers = [int(word or 0) for word in loose.groups()]
        if max(numbers[0], numbers[2]) > 23 or max(numbers[1], numbers[3]) > 59:
            raise refuse(f"{show(value)} is no time of day.", "Times run from 00:00 to 23:59.")
        meant = f"{numbers[0]:02}:{numbers[1]:02}-{numbers[2]:02}:{numbers[3]:02}"
        raise refuse(f"{show(value)} is not how hours are written.", f'Did you mean "{meant}"? {how}')
    raise refuse(f"{show(value)} is not how hours are written.", how)


def parse_quiet_hours(value: object) -> Hours | None:
    """`21:00-08:00`, when nothing goes out: the hours that are left, 08:00 to 21:00. `none`: all day, None."""
    if value == "none":
        return None
    if value is False or value == 0:
        raise refuse(f"{show(value)} is not how hours are written.", "No quiet hours at all is spelt none.")
    begins, ends = _parse_span(value, "21:00-08:00; no quiet hours at all is spelt none")
    return Hours(opens=ends, closes=begins)


def write_quiet_hours(hours: Hours | None) -> str:
    """The way a marketer writes it."""
    return "none" if hours is None else f"{hours.closes:%H:%M}-{hours.opens:%H:%M}"


def parse_hours(value: object) -> Hours:
    """`08:00-21:00`, when messages may go out."""
    return Hours(*_parse_span(value, "08:00-21:00"))


def parse_most(value: object) -> int | None:
    """How many contacts at most: 1 to 1000, or `none`, which is None."""
    if value == "none":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if value == 0:
            remedy = "Unlimited is spelt none; to send nothing of a journey, write status: stopped in it."
            raise refuse("0 would let nothing through.", remedy)
        if not 1 <= value <= 1000:
            raise refuse(f"{value} is out of range.", "Write a number from 1 to 1000, or none.")
        return value
    near = 'Did you mean "none"? ' if did_you_mean(value, ["none", "unlimited", "infinite"]) else ""
    raise refuse(f"{show(value)} is not a number of contacts.", f"{near}Write a number from 1 to 1000, or none.")


def parse_age(value: object) -> int:
    """An age in years, 10 to 21."""
    if isinstance(value, int) and not isinstance(value, bool) and 10 <= value <= 21:
        return value
    raise refuse(f"{show(value)} is not an age for this.", "Write a number of years from 10 to 21.")


def parse_period(value: object) -> timedelta | None:
    """A duration in days or weeks, or `forever`, which is None."""
    if value == "forever":
        return None
    if value == "none":
        raise refuse('"none" could mean two things here.', "Kept without an end is spelt forever.")
    try:
        period = notation.parse_duration(value)
    except PydanticCustomError as error:
        told = error.context or {}
        months = re.fullmatch(r"([0-9]{1,2})\s*(?:months?|个?月)", str(value).strip())
        years = re.fullmatch(r"([0-9]{1,2})\s*(?:years?|y|年)", str(value).strip())
        if months or years:
            days = int(months[1]) * 31 if months else int(years[1]) * 366
            raise refuse(f"{show(value)} is not a duration.", f'Did you mean "{days}d"? Write days or weeks.') from None
        raise refuse(str(told["what"]), str(told["remedy"])) from None
    if period < timedelta(days=1):
        raise refuse(f"{show(value)} is less than a day.", "Write at least 1d, or forever.")
    return period


def write_period(period: timedelta | None) -> str:
    """The way a marketer writes it."""
    return "forever" if period is None else notation.write_duration(period)


@cache
def known_countries() -> Mapping[str, str]:
    """ISO 3166's country codes with their English names."""
    table = files("tzdata.zoneinfo").joinpath("iso3166.tab").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.splitlines() if line and not line.startswith("#")]
    return dict(rows) | {"GB": "United Kingdom"}


_MEANT = {"UK": "GB", "USA": "US", "CHN": "CN", "PRC": "CN", "ENGLAND": "GB", "中国": "CN", "美国": "US", "英国": "GB"}


def parse_country(value: object) -> str:
    """A country by its two letters: CN."""
    if isinstance(value, str) and value in known_countries():
        return value
    how = "Write the country's two letters: CN, US, GB, DE."
    if not isinstance(value, str):
        raise refuse(f"{show(value)} is not a country.", how)
    word = value.strip().upper()
    if word in ("EU", "EEA", "EUROPE"):
        raise refuse(f"{show(value)} is not a country.", "Name each country that you sell to: DE, FR, NL.")
    by_name = {name.upper(): code for code, name in known_countries().items()}
    meant = _MEANT.get(word) or by_name.get(word) or (word if word in known_countries() else None)
    raise refuse(f"{show(value)} is not a country.", f'Did you mean "{meant}"?' if meant else how)


def _parse_list(value: object, parse: Any, example: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise refuse(f"{show(value)} is not a list.", f"Write it in brackets: {example}.")
    return refuse_twice(tuple(parse(item) for item in value))


def refuse_twice(found: tuple[str, ...]) -> tuple[str, ...]:
    """The list itself, if it names each thing once."""
    for item in found:
        if found.count(item) > 1:
            raise refuse(f"{show(item)} is listed twice.", "Name each once.")
    return found


def _parse_journey(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(notation.ID_PATTERN, value):
        return value
    raise refuse(f"{show(value)} can't be a journey's id.", "Write the name of its file without .yaml.")


def parse_journeys(value: object) -> tuple[str, ...]:
    """A list of journeys' ids, each once; whether they exist is not looked at."""
    return _parse_list(value, _parse_journey, "[birthday_care]")


CHOICES = ("preference", "response")


def _parse_choice(value: object) -> str:
    if value in CHOICES:
        return str(value)
    raise refuse(
        f"{show(value)} is not known here.", f"{did_you_mean(value, CHOICES)} Write preference or response.".strip()
    )


def parse_choices(value: object) -> tuple[str, ...]:
    """In which order channels are chosen by."""
    return _parse_list(value, _parse_choice, "[preference, response]")


def parse_wordings(value: object) -> dict[str, str]:
    """Words in each language: {zh-CN: ..., en: ...}."""
    if not isinstance(value, dict) or not value:
        raise refuse(f"{show(value)} is not a text for each language.", "Write {zh-CN: ..., en: ...}.")
    for locale, words in value.items():
        parse_locale(locale)
        if not isinstance(words, str) or not words.strip():
            raise refuse(f"the text for {locale} is {show(words)}.", "Write some text; in quotes if it is a number.")
    return {locale: " ".join(words.split()) for locale, words in value.items()}


def _word(parse: Any, schema: dict, write: Any = None) -> Any:
    parts = [PlainValidator(parse), WithJsonSchema(schema)]
    return [*parts, PlainSerializer(write, when_used="json")] if write else parts


_TEXTS = {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}, "minProperties": 1}
_IDS = {"type": "array", "items": {"type": "string", "pattern": notation.ID_PATTERN}, "uniqueItems": True}
_WORDS = {"type": "array", "items": {"enum": list(CHOICES)}, "uniqueItems": True}
_MOST = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1000}, {"const": "none"}], "examples": [2, "none"]}
_QUIET = {"type": "string", "pattern": HOURS_PATTERN[:-1] + "$|^none$", "examples": ["21:00-08:00", "none"]}
_PERIOD = {"type": "string", "pattern": "^[0-9]{1,5}[dw]$|^forever$", "examples": ["90d", "57w", "forever"]}

Quiet = Annotated[Hours | None, *_word(parse_quiet_hours, _QUIET, write_quiet_hours)]
OpenHours = Annotated[Hours, *_word(parse_hours, {"type": "string", "pattern": HOURS_PATTERN}, str)]
Most = Annotated[int | None, *_word(parse_most, _MOST, lambda most: "none" if most is None else most)]
Age = Annotated[int, *_word(parse_age, {"type": "integer", "minimum": 10, "maximum": 21})]
Period = Annotated[timedelta | None, *_word(parse_period, _PERIOD, write_period)]
Country = Annotated[str, *_word(parse_country, {"type": "string", "pattern": "^[A-Z]{2}$", "examples": ["US", "CN"]})]
Countries = Annotated[tuple[Country, ...], AfterValidator(refuse_twice)]
Journeys = Annotated[tuple[str, ...], *_word(parse_journeys, _IDS)]
Choices = Annotated[tuple[str, ...], *_word(parse_choices, _WORDS)]
Wordings = Annotated[dict[str, str], *_word(parse_wordings, _TEXTS)]
