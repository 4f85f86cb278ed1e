"""E-mail addresses and phone numbers in one spelling, and what they give away about country and time zone.

The libraries decide (email-validator, phonenumbers); columns are fast because equal cases are asked once.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

import phonenumbers
import polars as pl
from babel.core import get_global
from email_validator import EmailNotValidError, validate_email
from phonenumbers import timezone as phone_zones

_PLAIN_LOCAL = r"^[A-Za-z0-9]+([._+-][A-Za-z0-9]+)*$"
_LOOKED_AT = 5
"""How many numbers of one area code are asked for its country: some are set aside and say nothing."""

INVISIBLE = r"[\u200B\u200E\u200F\u202A-\u202E\u2060\u2066-\u2069\uFEFF\u00AD]"
"""Characters that nobody sees and programs put around what is copied: no part of an id, an address or a number."""

_UNUSUAL = r"[^\x21-\x7E ]|\.0$|^ | $"
_PUNCTUATED = r"^[ (\[]*\+?[ ().\-–/\[\]]*[0-9][0-9 ().\-–/\[\]]*$"
_SPREADSHEET = r"^(\+?[0-9]+)\.0$"
_DATE_OR_AMOUNT = r"^\d{4}([-/.])\d{1,2}([-/.])\d{1,2}$|^\d{1,2}([-/.])\d{1,2}([-/.])\d{4}$|^\d+\.\d{1,2}$"
_LONGEST = 40
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_MOST_FEWEST = (7, 15)
_POSSIBLE = phonenumbers.ValidationResult.IS_POSSIBLE


def normalise_emails(given: pl.Series) -> pl.Series:
    """Each address as email-validator writes it (the domain in small letters), null where it is none."""
    if given.str.contains(INVISIBLE).any():
        given = given.str.replace_all(INVISIBLE, "")
    frame = given.to_frame("given").with_columns(
        pl.col("given").str.extract(r"^([^@]*)@[^@]+$").alias("local"),
        pl.col("given").str.extract(r"^[^@]*@([^@]+)$").alias("domain"),
    )
    is_plain = pl.col("local").str.contains(_PLAIN_LOCAL) & (pl.col("local").str.len_bytes() <= 64)
    # What is not ASCII changes its length on the way.
    is_short = (pl.col("given").str.len_bytes() <= 254) & pl.col("given").str.contains(r"^[\x21-\x7e]+$")
    frame = frame.with_columns((is_plain & is_short).fill_null(False).alias("is_plain"))
    domains = frame.filter("is_plain")["domain"].unique()
    spelt = {domain: _domain(domain) for domain in domains}
    known = frame["domain"].replace_strict(spelt, default=None, return_dtype=pl.String)
    fast = frame["local"] + "@" + known
    rest = frame.filter(~pl.col("is_plain") & pl.col("given").is_not_null())["given"].unique()
    slow = frame["given"].replace_strict({email: _email(email) for email in rest}, default=None, return_dtype=pl.String)
    return pl.select(pl.when(frame["is_plain"]).then(fast).otherwise(slow)).to_series().rename(given.name)


def normalise_email(given: str) -> str | None:
    """One address, as normalise_emails does it."""
    return normalise_emails(pl.Series([given.strip()]))[0]


@lru_cache(100_000)
def _domain(domain: str) -> str | None:
    found = _email(f"a@{domain}")
    return found.partition("@")[2] if found else None


def _email(given: str) -> str | None:
    try:
        return validate_email(given, check_deliverability=False).normalized
    except (EmailNotValidError, ValueError):
        return None


def normalise_phones(given: pl.Series, country: str | None) -> pl.Series:
    """Each number in E.164 ("+8613800138000"), null where it is none. `country` (two letters) is that of numbers
    written without a country's code; without it such numbers are none.

    The same as `read_phone` of each: what is not one of the plain cases below is asked one by one."""
    tidy = given
    if tidy.str.contains(_UNUSUAL).any():
        tidy = tidy.str.replace_all(INVISIBLE, "").str.normalize("NFKC").str.strip_chars()
        tidy = tidy.str.replace(_SPREADSHEET, "$1")
    is_number = (
        tidy.str.contains(_PUNCTUATED) & ~tidy.str.contains(_DATE_OR_AMOUNT) & (tidy.str.len_chars() <= _LONGEST)
    )
    frame = pl.DataFrame({"tidy": tidy, "bare": tidy.str.replace_all(r"[^0-9+]", "")}).with_columns(
        pl.when(is_number & pl.col("bare").str.contains(r"^\+?[0-9]{5,17}$"))
        .then(_with_plus("bare", country))
        .alias("plus")
    )
    # Whether a number may be as long as it is is decided by its country; and that by how it begins: ask once for each.
    frame = frame.with_columns(
        pl.concat_str(pl.col("plus").str.slice(0, 5), pl.col("plus").str.len_bytes().cast(pl.String), separator="|")
        .alias("group")
    )  # fmt: skip
    samples = frame.filter(pl.col("group").is_not_null()).unique("group", keep="any", maintain_order=False)
    plain = {group: _prefix_pattern(plus) for group, plus in samples.select("group", "plus").iter_rows()}
    pattern = frame["group"].replace_strict(plain, default=None, return_dtype=pl.String)
    is_plain = pl.repeat(False, len(frame), eager=True)
    for each in {it for it in plain.values() if it}:
        # A prefix for calls inside the country would be taken away, or not, by rules of its own.
        is_plain |= ((pattern == each) & ~frame["plus"].str.contains(each)).fill_null(False)
    rest = frame.filter(~is_plain & is_number)["tidy"].unique().drop_nulls()
    slow = tidy.replace_strict({it: _ask(it, country) for it in rest}, default=None, return_dtype=pl.String)
    return pl.select(pl.when(is_plain).then(frame["plus"]).otherwise(slow)).to_series().rename(given.name)


def read_phone(given: str, country: str | None) -> str | None:
    """One number in E.164, or None: `normalise_phones` of one cell.

    Only digits and what people set between them: letters would be read as the keys of a telephone, so that a street or an
    id became the number of a stranger. No date, no amount, no extension. 13800138000.0 is a spreadsheet's 13800138000."""
    return normalise_phones(pl.Series([given], dtype=pl.String), country)[0]


def _with_plus(column: str, country: str | None) -> pl.Expr:
    """Digits with their country's code; null where that takes more than looking at how they begin."""
    bare = pl.col(column)
    international = pl.when(bare.str.contains(r"^\+[1-9]")).then(bare)
    if country is None or (about := phonenumbers.PhoneMetadata.metadata_for_region(country)) is None:
        return international
    code, prefix = str(about.country_code), about.national_prefix_for_parsing or "0"
    is_too_long = bare.str.len_bytes() > max(about.general_desc.possible_length)
    takes_more = rf"^(?:{about.international_prefix or '00'})|^(?:{prefix})|^{code}|^\+"
    found = international.when(~bare.str.contains(takes_more)).then(pl.concat_str(pl.lit(f"+{code}"), bare))
    has_code = bare.str.starts_with(code) & ~bare.str.contains(rf"^{code}(?:{prefix})")
    found = found.when(has_code & is_too_long).then(pl.concat_str(pl.lit("+"), bare))
    if about.international_prefix == "00":
        found = found.when(bare.str.contains(r"^00[1-9]")).then(pl.concat_str(pl.lit("+"), bare.str.slice(2)))
    return found


@cache
def _lengths(code: int) -> tuple[frozenset[int], str]:
    region = phonenumbers.region_code_for_country_code(code)
    about = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    return frozenset(about.general_desc.possible_length), about.national_prefix_for_parsing or ""


def _prefix_pattern(plus: str) -> str | None:
    """A pattern of the numbers of this country that begin with a national prefix; None where a number of this length can't
    be one."""
    for digits in (1, 2, 3):
        code = int(plus[1 : 1 + digits])
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            lengths, prefix = _lengths(code)
            if len(plus) - 1 - digits not in lengths or not _MOST_FEWEST[0] <= len(plus) - 1 <= _MOST_FEWEST[1]:
                return None
            return rf"^\+{code}(?:{prefix})" if prefix else r"^\+0"
    return None


def _ask(given: str, country: str | None) -> str | None:
    try:
        number = phonenumbers.parse(given, country)
    except phonenumbers.NumberParseException:
        return None
    if number.extension or phonenumbers.is_possible_number_with_reason(number) != _POSSIBLE:
        return None
    found = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return found if _E164.fullmatch(found) else None


def derive_countries(phones: pl.Series) -> pl.Series:
    """The country (two letters) of each E.164 number, null where its beginning does not say."""
    return _by_beginning(phones, _country)


def derive_zones(countries: pl.Series, phones: pl.Series) -> pl.Series:
    """The time zone of each customer: the country's if it has one, else the phone's area's, else null."""
    by_country = {code: _zone_of_country(code) for code in countries.unique() if code}
    found = countries.replace_strict(by_country, default=None, return_dtype=pl.String)
    return found if found.null_count() == 0 else found.fill_null(_by_beginning(phones, _zone_of_phone))


def _by_beginning(phones: pl.Series, ask) -> pl.Series:
    """Ask a few numbers of each beginning: the calling code and three digits."""
    frame = phones.to_frame("phone").with_columns(pl.col("phone").str.slice(0, 6).alias("beginning"))
    groups = frame.drop_nulls().group_by("beginning").agg(pl.col("phone").unique().head(_LOOKED_AT))
    known = {}
    for beginning, samples in groups.iter_rows():
        known[beginning] = next(filter(None, map(ask, samples)), None)
    return frame["beginning"].replace_strict(known, default=None, return_dtype=pl.String)


def _country(phone: str) -> str | None:
    try:
        number = phonenumbers.parse(phone)
    except phonenumbers.NumberParseException:
        return None
    regions = phonenumbers.region_codes_for_country_code(number.country_code)
    found = regions[0] if len(regions) == 1 else phonenumbers.region_code_for_number(number)
    return found if found and found.isalpha() else None


def _zone_of_phone(phone: str) -> str | None:
    try:
        found = phone_zones.time_zones_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:
        return None
    return found[0] if len(found) == 1 and found[0] in _zones() and not found[0].startswith("Etc/") else None


@cache
def _zones() -> dict[str, str]:
    return dict(get_global("zone_territories"))


@cache
def _zone_of_country(code: str) -> str | None:
    # The whole of China keeps the time of Beijing by law; the second zone of the tables is a local custom.
    if code == "CN":
        return "Asia/Shanghai"
    zones = [zone for zone, territory in _zones().items() if territory == code and "/" in zone]
    return zones[0] if len(zones) == 1 else None
