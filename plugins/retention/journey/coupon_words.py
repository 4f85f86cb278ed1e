"""What a coupon is called: 8折券, 满200减30, 赠品：…, 500积分; 20% off, Free gift: … The only place that words one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from babel import UnknownLocaleError
from babel.numbers import format_currency, format_decimal

from retention.journey.coupon import Coupon
from retention.journey.notation import write_duration
from retention.journey.shop import choose_locale

_ZH = {
    "percent": "{zhe}折券", "free": "免单券", "percent_from": "满{minimum}打{zhe}折", "free_from": "满{minimum}免单",
    "amount": "{value}券", "amount_from": "满{minimum}减{value}", "gift": "赠品：{gift}", "gift_from": "满{minimum}赠{gift}",
    "points": "{points}积分", "points_from": "满{minimum}送{points}积分",
}  # fmt: skip
_HANT = {
    "percent": "{zhe}折券", "free": "免單券", "percent_from": "滿{minimum}打{zhe}折", "free_from": "滿{minimum}免單",
    "amount": "{value}券", "amount_from": "滿{minimum}減{value}", "gift": "贈品：{gift}", "gift_from": "滿{minimum}贈{gift}",
    "points": "{points}點", "points_from": "滿{minimum}送{points}點",
}  # fmt: skip
_EN = {
    "percent": "{value}% off", "free": "a free order", "percent_from": "{value}% off orders of {minimum} or more",
    "free_from": "a free order of {minimum} or more", "amount": "{value} off",
    "amount_from": "{value} off orders of {minimum} or more", "gift": "Free gift: {gift}",
    "gift_from": "Free gift with orders of {minimum} or more: {gift}", "points": "{points} points",
    "points_from": "{points} points for orders of {minimum} or more",
}  # fmt: skip


def write_title(
    *,
    kind: str,
    value: Decimal | None,
    minimum: Decimal | None = None,
    currency: str | None = None,
    gift: Mapping[str, str] | None = None,
    locale: str,
) -> str:
    """The coupon in a few words of the language: Chinese in Chinese, everything else in English."""
    is_chinese = locale.startswith("zh")
    words = (_HANT if re.search("TW|HK|MO|Hant", locale) else _ZH) if is_chinese else _EN
    key = {"percent_off": "percent", "amount_off": "amount"}.get(kind, kind)
    key = "free" if key == "percent" and value == 100 else key
    return words[f"{key}_from" if minimum is not None else key].format(
        zhe=write_zhe(value) if kind == "percent_off" and value is not None else "",
        value=_write_value(kind, value, currency, locale, has_minimum=minimum is not None),
        minimum=write_money(minimum, currency, locale, is_bare=is_chinese) if minimum is not None else "",
        gift=choose_gift(gift, locale) if gift else "",
        points=_write_number(value, locale) if kind == "points" else "",
    )


def describe_coupon(coupon: Coupon) -> str:
    """A journey's coupon for those who run it: 20% off, of pool summer, valid 7d."""
    title = write_title(
        kind=coupon.kind,
        value=coupon.value,
        minimum=coupon.minimum,
        currency=coupon.currency,
        gift=coupon.gift,
        locale="en",
    )
    pool = f", of pool {coupon.pool}" if coupon.pool else ""
    return f"{title}{pool}, valid {write_duration(coupon.valid)}"


def choose_gift(gift: Mapping[str, str], locale: str) -> str:
    """The gift's name in the language, or in the nearest there is."""
    if "" in gift:
        return gift[""]
    return gift[choose_locale(locale, list(gift), next(iter(gift)))]


def write_zhe(percent_off: int | Decimal) -> str:
    """20 % off is `8` (折: tenths of the price that remain), 25 % is `7.5`; 100 % leaves `0`."""
    return f"{((100 - Decimal(percent_off)) / 10).normalize():f}"


def shorten(number: Decimal) -> int | Decimal:
    """20.00 becomes 20 and prints so; it stays a number, so that {% if coupon.value >= 20 %} works."""
    return int(number) if number == number.to_integral_value() else number.normalize()


def write_money(amount: Decimal, currency: str | None, locale: str, *, is_bare: bool = False) -> str:
    """30 CNY: 30元 in Chinese (`is_bare`: 30, as in 满200减30), CN¥30 in English; whole amounts without their cents."""
    if locale.startswith("zh") and currency in ("CNY", None):
        return f"{shorten(amount)}" if is_bare else f"{shorten(amount)}元"
    try:
        written = format_currency(amount, currency or "CNY", locale=locale.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        written = format_currency(amount, currency or "CNY", locale="en")
    return re.sub(r"[.,]00(?![0-9])", "", written) if amount == amount.to_integral_value() else written


def _write_value(kind: str, value: Decimal | None, currency: str | None, locale: str, *, has_minimum: bool) -> str:
    if value is None:
        return ""
    return write_money(value, currency, locale, is_bare=has_minimum) if kind == "amount_off" else f"{shorten(value)}"


def _write_number(value: Decimal | None, locale: str) -> str:
    if value is None or locale.startswith("zh"):
        return "" if value is None else f"{shorten(value)}"
    try:
        return format_decimal(value, locale=locale.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return f"{shorten(value)}"
