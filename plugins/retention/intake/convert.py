"""Cells of text become values: one column at a time, by the kind of the field. Knows kinds, no table and no file.

Whatever a cell holds, nothing here raises for it: it comes back as null, with the reason and the remedy. Reasons never
quote the value: they end up in reports.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from hashlib import sha256
from zoneinfo import available_timezones

import polars as pl
from babel import Locale
from babel.numbers import list_currencies

from retention.intake.addresses import INVISIBLE, normalise_emails, normalise_phones
from retention.intake.mapping import Cell

LONGEST_TEXT = 10_000
LONGEST_ID = 200
EARLIEST_YEAR, LATEST_YEAR = 1880, 2200

_EARLIEST, _LATEST = datetime(EARLIEST_YEAR, 1, 1, tzinfo=UTC), datetime(LATEST_YEAR, 1, 1, tzinfo=UTC)

TRUE_WORDS = ("true", "t", "yes", "y", "1", "on", "是", "有")
FALSE_WORDS = ("false", "f", "no", "n", "0", "off", "否", "无")


@dataclass(frozen=True)
class Context:
    """What reading needs besides the cells. `zone`: of moments written without one; `country`: of phone numbers;
    `event_kinds`: the registry; `lookups`: name -> (its key column, column -> {key: value}); `today`: nobody is born later."""

    zone: str
    country: str | None
    event_kinds: frozenset[str]
    lookups: dict[str, dict[str, dict[str, str]]]
    today: date


@dataclass
class Column:
    """What a column became: `values` by staged column, and masks of the rows that are bad, each with reason and remedy."""

    values: dict[str, pl.Series]
    faults: list[tuple[pl.Series, str, str]] = field(default_factory=list)


def read_column(name: str, kind: str, cell: Cell, frame: pl.DataFrame, context: Context, choices=()) -> Column:
    """The field `name` for every row of `frame` (columns of text, null where empty)."""
    if cell.value is not None and cell.times is None and len(frame) > 1:
        # A constant is read once.
        once = read_column(name, kind, cell, frame[:1], context, choices)
        return Column(
            {column: values.new_from_index(0, len(frame)) for column, values in once.values.items()},
            [(mask.new_from_index(0, len(frame)), *words) for mask, *words in once.faults],
        )
    text, faults = _read_text(cell, frame, context)
    if kind == "birthday":
        return _read_birthday(cell, text, context, faults)
    values, reason, remedy = _READERS[kind](cell, text, context, choices)
    if cell.times is not None:
        factor, more = _read_text(cell.times, frame, context)
        multiplier, *_ = _read_decimal(cell.times, factor, 18, 4)
        # Exact: decimals, not floats.
        product = (values.cast(pl.Decimal(38, 8)) * multiplier.cast(pl.Decimal(38, 8))).cast(values.dtype, strict=False)
        faults += more
        faults.append((values.is_not_null() & product.is_null() & ~_any(more, len(frame)), "not a number", remedy))
        values = product
    is_bad = text.is_not_null() & values.is_null() & ~_any(faults, len(frame))
    faults.append((is_bad, reason, remedy))
    return Column({name: values}, faults)


def _any(faults: list, height: int) -> pl.Series:
    mask = pl.repeat(False, height, eager=True)
    for found, *_ in faults:
        mask = mask | found
    return mask


def fill(value: str | None, height: int) -> pl.Series:
    """A column of one text."""
    return pl.repeat(value, height, dtype=pl.String, eager=True)


# --- from the row to the text of one field --------------------------------------------------------------------------


def _read_text(cell: Cell, frame: pl.DataFrame, context: Context) -> tuple[pl.Series, list]:
    faults: list[tuple[pl.Series, str, str]] = []
    if cell.value is not None:
        return fill(cell.value, len(frame)), faults
    if len(cell.columns) == 1:
        text = frame[cell.columns[0]]
    else:
        joined = pl.concat_str([pl.col(c) for c in cell.columns], separator=cell.join, ignore_nulls=True)
        text = _trim(frame.select(joined).to_series())
    if cell.strip:
        text = _trim(text.str.replace_all(cell.strip, "", literal=True))
    if cell.is_hashed:
        text = text.map_elements(_hash, return_dtype=pl.String)
    if cell.lookup:
        name, column = cell.lookup
        found = text.replace_strict(context.lookups[name][column], default=None, return_dtype=pl.String)
        missed = text.is_not_null() & ~text.is_in(list(context.lookups[name][column]))
        faults.append((missed, f"not found in the look-up {name}", "Complete the second file, or correct the key."))
        text = found
    if cell.value_map is not None:
        mapped = text.replace_strict(cell.value_map, default=None, return_dtype=pl.String)
        is_known = text.is_in(list(cell.value_map))
        if cell.otherwise == "keep":
            text = pl.select(pl.when(is_known).then(mapped).otherwise(text)).to_series()
        else:
            if cell.otherwise == "reject":
                missed = text.is_not_null() & ~is_known
                faults.append(
                    (missed, "not in the value map", "Add the word to map, or write otherwise: keep or empty.")
                )
            text = mapped
        text = _trim(text)
    if cell.default is not None:
        missed = _any(faults, len(frame))
        text = pl.select(pl.when(text.is_null() & ~missed).then(pl.lit(cell.default)).otherwise(text)).to_series()
    if cell.prefix:
        text = cell.prefix + text
    return text, faults


def _trim(text: pl.Series) -> pl.Series:
    trimmed = text.str.strip_chars()
    return pl.select(pl.when(trimmed != "").then(trimmed)).to_series()


def _hash(value: str) -> str:
    return "h" + sha256(value.strip().lower().encode()).hexdigest()[:20]


# --- from the text to the value -------------------------------------------------------------------------------------

Answer = tuple[pl.Series, str, str]


# Line ends and tabs belong to texts; the others are the traces of a wrong encoding, or break what shows them.
_CONTROL = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]"
_NO_ID = r"[\x00-\x1F\x7F-\x9F]|^[0-9](?:[.,][0-9]+)?[eE]\+[0-9]+$"


def _read_plain(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    is_fine = (text.str.len_chars() <= LONGEST_TEXT) & ~text.str.contains(_CONTROL)
    values = pl.select(pl.when(is_fine).then(text)).to_series()
    remedy = "Shorten it, save the file in UTF-8, or map another column."
    return values, f"longer than {LONGEST_TEXT:,} characters, or with control characters", remedy


def _read_id(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    """Nobody sees a space without width, and two ids that look the same are one: such characters are no part of it."""
    is_fine = text.str.len_chars() <= LONGEST_ID
    if text.str.contains(f"{INVISIBLE}|{_NO_ID}").any():
        text = _trim(text.str.replace_all(INVISIBLE, ""))
        is_fine = (text.str.len_chars() <= LONGEST_ID) & ~text.str.contains(_NO_ID)
    values = pl.select(pl.when(is_fine).then(text)).to_series()
    reason = f"not an id: longer than {LONGEST_ID} characters, with control characters, or cut short like 1.2E+12"
    return values, reason, "Map the column of ids; in a spreadsheet make it text before you export it."


def _read_email(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    # One spelling: nobody's mailbox cares for capitals, and one person is to be found by one address.
    values = normalise_emails(text).str.to_lowercase()
    return values, "not an e-mail address", "Correct it at the source; the customer came in without it."


def _read_phone(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    remedy = "Correct it at the source, or write country: CN at the top of the mapping for numbers without +86."
    return normalise_phones(text, context.country), "not a phone number", remedy


def _read_address(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    values = normalise_emails(text).str.to_lowercase().fill_null(normalise_phones(text, context.country))
    return values, "neither an e-mail address nor a phone number", "Correct it at the source."


def _read_money(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    return _read_decimal(cell, text, 18, 4)


def _read_number(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    return _read_decimal(cell, text, 14, 3)


def _read_decimal(cell: Cell, text: pl.Series, precision: int, scale: int) -> Answer:
    """Digits with a point; a currency's sign before them and groups of three are understood, units are not."""
    whole = precision - scale
    plain = rf"^[+-]?[0-9]{{1,{whole}}}(\.[0-9]+)?$"
    remedy = (
        'Correct it at the source; units go with strip: "USD", 1.234,50 is read with decimal: ",", '
        f"and at most {whole} digits fit before the point."
    )
    if cell.decimal == "," or not text.drop_nulls().str.contains(plain).all():
        group, point = (r"\.", ",") if cell.decimal == "," else (",", r"\.")
        loose = text.str.replace(r"^([+-]?)\s*[¥￥$€£]\s*([+-]?)", "$1$2")
        is_grouped = loose.str.contains(rf"^[+-]?[0-9]{{1,3}}({group}[0-9]{{3}})+({point}[0-9]+)?$")
        bare = loose.str.replace_all("." if cell.decimal == "," else ",", "", literal=True)
        text = pl.select(pl.when(is_grouped).then(bare).otherwise(loose)).to_series()
        if cell.decimal == ",":
            # What still has a point here is ambiguous: 1.5 may be one and a half or fifteen hundred cut short.
            text = pl.select(
                pl.when(~text.str.contains(".", literal=True)).then(text.str.replace(",", "."))
            ).to_series()
    is_fine = text.str.contains(plain)
    values = pl.select(pl.when(is_fine).then(text)).to_series().cast(pl.Decimal(precision, scale), strict=False)
    return values, "not a number", remedy


def _read_integer(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    values = text.str.extract(r"^\+?(-?[0-9]{1,9})(?:\.0+)?$").cast(pl.Int32, strict=False)
    return values, "not a whole number", "Correct it at the source."


def _read_boolean(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    words = {word: True for word in TRUE_WORDS} | {word: False for word in FALSE_WORDS}
    values = text.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
    return values, "neither true nor false", 'Say what the words mean: map: {"opted in": true, "opted out": false}.'


def _read_choice(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    lower = text.str.to_lowercase()
    values = pl.select(pl.when(lower.is_in(list(choices))).then(lower)).to_series()
    return values, f"none of {', '.join(choices)}", "Say what the source's words mean with map: {theirs: ours}."


def _read_event_kind(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    values = pl.select(pl.when(text.is_in(list(context.event_kinds))).then(text)).to_series()
    kinds = ", ".join(sorted(context.event_kinds))
    return values, "not a known kind of event", f"Say what it means with map: {{theirs: ours}}; ours are {kinds}."


@cache
def _currencies() -> list[str]:
    return sorted(list_currencies())


@cache
def _countries() -> list[str]:
    """Of ISO 3166, and those that it leaves to their users (XK)."""
    known = {code for code in Locale("en").territories if len(code) == 2 and code.isalpha()}
    return sorted(known - {"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"})


def _read_currency(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    upper = text.str.to_uppercase()
    values = pl.select(pl.when(upper.is_in(_currencies())).then(upper)).to_series()
    return values, "not a currency of three letters", "Write CNY (not RMB), USD, ...; or say what it means with map."


def _read_country(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    upper = text.str.to_uppercase()
    values = pl.select(pl.when(upper.is_in(_countries())).then(upper)).to_series()
    return values, "not a country of two letters", "Say what it means with map: {China: CN, UK: GB}."


def _read_locale(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    language = text.str.extract(r"^([A-Za-z]{2,3})(?:[-_][A-Za-z]{2})?$").str.to_lowercase()
    region = text.str.extract(r"^[A-Za-z]{2,3}[-_]([A-Za-z]{2})$").str.to_uppercase()
    values = pl.select(pl.when(region.is_not_null()).then(language + "-" + region).otherwise(language)).to_series()
    return values, "not a language", "Write zh-CN, en, ...; or say what it means with map."


def _read_timezone(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    values = pl.select(pl.when(text.is_in(sorted(available_timezones()))).then(text)).to_series()
    return values, "not a time zone", "Write Asia/Shanghai, ...; or say what it means with map."


# ISO 8601 as databases, JSON and people write it; tried in turn until every cell is read, the quickest first.
_ISO = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f %z",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%M%#z",
)


def _read_moment(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    values = _read_formats(text, cell.formats or _ISO, lambda rest, form: _parse(rest, form, context.zone))
    is_possible = (values >= _EARLIEST) & (values < _LATEST)
    values = pl.select(pl.when(is_possible).then(values)).to_series()
    return values, _not_a_date(cell), 'Say how it is written, one or several: format: ["%d.%m.%Y", "%Y%m%d"].'


def _read_formats(text: pl.Series, formats: Sequence[str], read: Callable[[pl.Series, str], pl.Series]) -> pl.Series:
    """Each cell by the first format that it fits; a format is asked only for the cells that none before it fitted."""
    values = _try(read, text, formats[0])
    for form in formats[1:]:
        is_open = values.is_null() & text.is_not_null()
        if not is_open.any():
            break
        values = values.scatter(is_open.arg_true(), _try(read, text.filter(is_open), form))
    return values


def _try(read: Callable[[pl.Series, str], pl.Series], text: pl.Series, form: str) -> pl.Series:
    try:
        return read(text, form)
    except pl.exceptions.ComputeError:
        # The library takes no such format (an hour of twelve without its half of the day): nothing fits it.
        return read(text.clear(len(text)), "%Y-%m-%d")


def _not_a_date(cell: Cell) -> str:
    return (
        f"not a date written {' or '.join(cell.formats) if cell.formats else 'like 2026-12-31 or 2026-12-31 18:30:00'}"
    )


def _parse(text: pl.Series, form: str, zone: str) -> pl.Series:
    has_time = any(code in form for code in ("%H", "%I", "%T", "%s"))
    if "%s" in form:
        seconds = text.str.extract(r"^([0-9]{1,11})$").cast(pl.Int64, strict=False)
        return (seconds * 1_000_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if re.search("%#?z", form):
        return text.str.strptime(pl.Datetime("us", "UTC"), form, strict=False)
    if has_time and form.endswith("Z"):
        # Whoever writes out the Z of ISO 8601 means it.
        zone = "UTC"
    if has_time:
        local = text.str.strptime(pl.Datetime("us"), form, strict=False)
    else:
        local = text.str.strptime(pl.Date, form, strict=False).cast(pl.Datetime("us"))
    placed = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    for later in ("1h", "24h"):
        # An hour (or a day) that the clocks left out: what they showed so much later.
        if placed.null_count() == local.null_count():
            break
        moved = local.dt.offset_by(later).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        placed = placed.fill_null(moved)
    return placed.dt.convert_time_zone("UTC")


def _read_date(cell: Cell, text: pl.Series, context: Context, choices: tuple) -> Answer:
    formats = cell.formats or ("%Y-%m-%d", "%Y-%m-%d 00:00:00")
    values = _read_formats(text, formats, lambda rest, form: rest.str.strptime(pl.Date, form, strict=False))
    return values, _not_a_date(cell), 'Say how it is written: format: "%d.%m.%Y".'


_READERS: dict[str, Callable[[Cell, pl.Series, Context, tuple], Answer]] = {
    "text": _read_plain,
    "id": _read_id,
    "email": _read_email,
    "phone": _read_phone,
    "address": _read_address,
    "money": _read_money,
    "number": _read_number,
    "integer": _read_integer,
    "boolean": _read_boolean,
    "choice": _read_choice,
    "event_kind": _read_event_kind,
    "currency": _read_currency,
    "country": _read_country,
    "locale": _read_locale,
    "timezone": _read_timezone,
    "moment": _read_moment,
    "date": _read_date,
}

_DAYS = {1: 31, 2: 29, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}
_PARTS = {
    "%Y": r"(?<y>[0-9]{4})",
    "%m": r"(?<m>[0-9]{1,2})",
    "%d": r"(?<d>[0-9]{1,2})",
    "%F": r"(?<y>[0-9]{4})-(?<m>[0-9]{1,2})-(?<d>[0-9]{1,2})",
}


def _read_birthday(cell: Cell, text: pl.Series, context: Context, faults: list) -> Column:
    """A day of the year, with its year if that is written. 29 February is one even without a leap year; a lunar month has
    30 days at most. Nobody is born before 1880 or after today."""
    height = len(text)
    parts = {part: pl.repeat(None, height, dtype=pl.Int16, eager=True) for part in "ymd"}
    for form in cell.formats or ("%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%d 00:00:00", "%m-%d"):
        pattern = "^" + _as_pattern(form) + "$"
        is_open = parts["d"].is_null()
        for part in "ymd":
            if f"?<{part}>" in pattern:
                found = text.str.extract(pattern, _group_number(pattern, part)).cast(pl.Int16, strict=False)
                parts[part] = pl.select(pl.when(is_open).then(found).otherwise(parts[part])).to_series()
    year, month, day = parts["y"], parts["m"], parts["d"]
    if cell.calendar == "lunar":
        longest = pl.repeat(30, height, dtype=pl.Int16, eager=True)
    else:
        longest = month.replace_strict(_DAYS, default=None, return_dtype=pl.Int16)
        is_short = year.is_not_null() & (month == 2) & ~_is_leap(year)
        longest = pl.select(
            pl.when(is_short.fill_null(False)).then(pl.lit(28, pl.Int16)).otherwise(longest)
        ).to_series()
    is_day = (month.is_between(1, 12) & (day >= 1) & (day <= longest)).fill_null(False)
    born = year.cast(pl.Int32) * 10_000 + month.cast(pl.Int32) * 100 + day.cast(pl.Int32)
    latest = context.today.year * 10_000 + context.today.month * 100 + context.today.day
    is_ours = (year.is_null() | ((year >= EARLIEST_YEAR) & (born <= latest))).fill_null(False)
    known = _any(faults, height)
    faults.append(
        (text.is_not_null() & ~is_day & ~known, _not_a_birthday(cell), 'Say how it is written: format: "%m/%d/%Y".')
    )
    faults.append((text.is_not_null() & is_day & ~is_ours & ~known, f"a birthday before {EARLIEST_YEAR} or after today",
                   "Correct it at the source; the customer came in without it."))  # fmt: skip
    is_good = is_day & is_ours & text.is_not_null() & ~known
    keep = lambda series: pl.select(pl.when(is_good).then(series)).to_series()  # noqa: E731
    return Column(
        {
            "birth_calendar": keep(fill(cell.calendar, height)),
            "birth_year": keep(year),
            "birth_month": keep(month),
            "birth_day": keep(day),
        },
        faults,
    )


def _not_a_birthday(cell: Cell) -> str:
    return f"not a day written {' or '.join(cell.formats) if cell.formats else 'like 1990-12-31 or 12-31'}"


def _is_leap(year: pl.Series) -> pl.Series:
    return (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))


def _as_pattern(form: str) -> str:
    pattern = "".join(_PARTS.get(piece, re.escape(piece)) for piece in re.split(r"(%[YmdF])", form))
    # A part that is named twice can't be two things.
    return pattern if all(pattern.count(f"?<{part}>") <= 1 for part in "ymd") else "[^\\s\\S]"


def _group_number(pattern: str, part: str) -> int:
    return pattern[: pattern.index(f"?<{part}>")].count("(?<") + 1
