"""How far a source was read: the values of a watermark column, as text and back. Touches no database, reads no clock.

A watermark is a moment (with a zone, or without one: then it is in the mapping's), a date, a whole number, or a moment
that its database keeps as text (SQLite). As text, moments and dates are ISO 8601 and text stands in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from retention.errors import IntakeError

Value = datetime | date | int | str

SKEW = timedelta(hours=1)
"""So far may the clocks of a source and of ours be apart before its rows count as dated in the future."""

_TEXT = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?Z?")
REMEDY = "Name a column of moments, dates or whole numbers, or cast it in the query."


def write_mark(value: Value) -> str:
    """The value as it is kept."""
    match value:
        case str():
            return f"'{value}'"
        case datetime() | date():
            return value.isoformat()
    return str(value)


def read_mark(text: str) -> Value:
    """The value that was kept, of the type its database gave."""
    if text.startswith("'"):
        return text.strip("'")
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)


def step_back(value: Value, overlap: timedelta) -> Value:
    """Where to begin reading: `overlap` before the value; for dates in whole days, for numbers at the value itself."""
    match value:
        case datetime():
            return value - overlap
        case date():
            return value - timedelta(days=-(-overlap // timedelta(days=1)))
        case str():
            return _write_like(_read_text(value) - overlap, value)
    return value


def limit_of(value: Value, moment: datetime, zone: str) -> Value | None:
    """`moment` as a value of the same type, None where time says nothing: a number may be any."""
    match value:
        case datetime():
            return moment if value.tzinfo else moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        case date():
            return moment.astimezone(ZoneInfo(zone)).date()
        case str():
            local = moment.astimezone(ZoneInfo("UTC" if value.endswith("Z") else zone))
            return _write_like(local.replace(tzinfo=None), value)
    return None


def _read_text(value: str) -> datetime:
    return datetime.fromisoformat(value.removesuffix("Z"))


def _write_like(moment: datetime, pattern: str) -> str:
    """The moment, written like `pattern`: as text it sorts only among what is written the same way."""
    body = pattern.removesuffix("Z")
    if len(body) == 10:
        return moment.date().isoformat() + pattern[10:]
    written = moment.isoformat(sep=body[10], timespec="minutes" if len(body) == 16 else "microseconds")
    digits = len(body) - 20
    written = written if len(body) == 16 else written[:19] if digits < 1 else written[: 20 + digits]
    return written + pattern[len(body) :]


@dataclass
class Tally:
    """What is seen of the watermark while rows pass: the `latest` value that is not in the future, rows without one, rows
    dated later than `began` by more than clocks differ. `name` is the column, `place` where it stands in a row; `where`
    begins an error."""

    where: str
    name: str
    place: int
    began: datetime
    zone: str
    latest: Value | None = None
    empty: int = 0
    in_future: int = 0

    def see(self, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        """Look at rows, and hand them on. Raises IntakeError for values that are no watermark."""
        values = [self._read(row[self.place]) for row in rows if row[self.place] is not None]
        self.empty += len(rows) - len(values)
        if not values:
            return rows
        try:
            last = limit_of(values[0], self.began + SKEW, self.zone)
            past = values if last is None or max(values) <= last else [value for value in values if value <= last]
            self.in_future += len(values) - len(past)
            seen = [*past, *([] if self.latest is None else [self.latest])]
            self.latest = max(seen) if seen else None
        except TypeError:
            raise IntakeError(
                f'{self.where}: watermark "{self.name}" holds values of several types. {REMEDY}'
            ) from None
        return rows

    def mark(self) -> Value | None:
        """How far it was read: never later than `began`."""
        if self.latest is None:
            return None
        last = limit_of(self.latest, self.began, self.zone)
        return self.latest if last is None else min(self.latest, last)

    def _read(self, value: Any) -> Value:
        match value:
            case bool():
                pass
            case datetime() | date() | int():
                return value
            case Decimal() if value == value.to_integral_value():
                return int(value)
            case str() if _TEXT.fullmatch(value):
                return value
        kind = type(value).__name__
        raise IntakeError(f'{self.where}: watermark "{self.name}" is neither moment nor number ({kind}). {REMEDY}')
