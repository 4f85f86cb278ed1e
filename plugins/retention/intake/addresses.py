"""E-mail addresses and phone numbers in one spelling, and what they give away about country and time zone.

The libraries decide (email-validator, phonenumbers); columns are fast because equal cases are asked once.
"""

from __future__ import annotations

from functools import cache

import phonenumbers
import polars as pl
from babel.core import get_global
from email_validator import EmailNotValidError, validate_email
from phonenumbers import timezone as phone_zones

_PLAIN_LOCAL = r"^[A-Za-z0-9]+([._+-][A-Za-z0-9]+)*$"
_LOOKED_AT = 5
"""How many numbers of one area code are asked for its country: some are set aside and say nothing."""


def normalise_emails(given: pl.Series) -> pl.Series:
    """Each address as email-validator writes it (the domain in small letters), null where it is none."""
    frame = given.to_frame("given").with_columns(
        pl.col("given").str.extract(r"^([^@]*)@[^@]+$").alias("local"),
        pl.col("given").str.extract(r"^[^@]*@([^@]+)$").alias("domain"),
    )
    is_plain = pl.col("local").str.contains(_PLAIN_LOCAL) & (pl.col("local").str.len_bytes() <= 64)
    is_short = pl.col("given").str.len_bytes() <= 254
    frame = frame.with_columns((is_plain & is_short).fill_null(False).alias("is_plain"))
    domains = frame.filter("is_plain")["domain"].unique()
    spelt = {domain: _domain(domain) for domain in domains}
    known = frame["domain"].replace_strict(spelt, default=None, return_dtype=pl.String)
    fast = frame["local"] + "@" + known
    rest = frame.filter(~pl.col("is_plain") & pl.col("given").is_not_null())["given"].unique()
    slow = given.replace_strict({email: _email(email) for email in rest}, default=None, return_dtype=pl.String)
    return pl.select(pl.when(frame["is_plain"]).then(fast).otherwise(slow)).to_series().rename(given.name)


@cache
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
    written without a country's code; without it such numbers are none."""
    bare = given.str.replace_all(r"[\s().\-–/]", "")
    frame = pl.DataFrame({"given": given, "bare": bare}).with_columns(
        pl.when(pl.col("bare").str.contains(r"^\+?\d{5,17}$")).then(pl.col("bare")).alias("digits")
    )
    # Whether digits are dropped or added is decided by how a number begins and how long it is: ask once for each.
    frame = frame.with_columns(
        pl.concat_str(pl.col("digits").str.slice(0, 7), pl.col("digits").str.len_bytes().cast(pl.String), separator="|")
        .alias("group")
    )  # fmt: skip
    samples = frame.filter(pl.col("group").is_not_null()).unique("group", keep="any", maintain_order=False)
    prefixes = {}
    for group, digits in samples.select("group", "digits").iter_rows():
        found = _phone(digits, country)
        if found and found.endswith(digits.lstrip("+")):
            prefixes[group] = found.removesuffix(digits.lstrip("+"))
    prefix = frame["group"].replace_strict(prefixes, default=None, return_dtype=pl.String)
    fast = prefix + frame["digits"].str.strip_prefix("+")
    rest = frame.filter(prefix.is_null() & frame["given"].is_not_null())["given"].unique()
    slow = given.replace_strict({it: _phone(it, country) for it in rest}, default=None, return_dtype=pl.String)
    return pl.select(pl.when(prefix.is_not_null()).then(fast).otherwise(slow)).to_series().rename(given.name)


def _phone(given: str, country: str | None) -> str | None:
    try:
        number = phonenumbers.parse(given[:40], country)
    except phonenumbers.NumberParseException:
        return None
    if number.extension or not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


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
    return found[0] if len(found) == 1 and found[0] in _zones() else None


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
