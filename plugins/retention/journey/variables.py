"""The variables a template may use: their names, meanings and values. The only list of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from retention.journey.shop import Shop


@dataclass(frozen=True)
class Variable:
    """`kind` decides what it may be compared with in an {% if %}."""

    kind: Literal["text", "number"]
    meaning: str


VARIABLES: dict[str, Variable] = {
    "customer.name": Variable("text", "The customer's name. Empty if we don't know it: ask {% if customer.name %}."),
    "coupon.code": Variable("text", "The customer's own code."),
    "coupon.value": Variable("number", "How much: 20 for 20 % off."),
    "coupon.zhe": Variable("text", "The same as Chinese customers say it: 8 for 20 % off (8 折), 7.5 for 25 %."),
    "coupon.valid_until": Variable("text", "The code's last day, written for the language: 11月13日, 13 November."),
    "shop.name": Variable("text", "The shop's name in the language of the message."),
    "shop.website": Variable("text", "The shop's address on the web, with https://."),
    "shop.postal_address": Variable("text", "Where letters reach the shop. Empty if shop.yaml does not say."),
    "shop.sms_signature": Variable(
        "text", "The name the carrier has registered, to put in 【】 at the head of an SMS."
    ),
    "links.unsubscribe": Variable(
        "text",
        "The person's own page to unsubscribe. Empty where no public address is set: ask {% if links.unsubscribe %}.",
    ),
    "links.preferences": Variable("text", "The person's own page of channels and topics. Empty where the other is."),
}


@dataclass(frozen=True)
class CouponFacts:
    """A customer's coupon: `value` is percent off, `valid_until` its last day, written for their language."""

    code: str
    value: int | Decimal
    valid_until: str


def fill_variables(
    *, locale: str, default_locale: str, shop: Shop, customer_name: str | None, coupon: CouponFacts | None
) -> dict[str, dict[str, Any]]:
    """The values of all variables for one message, ready for Jinja: {"customer": {"name": ...}, ...}.

    Without a coupon the group `coupon` is missing: load() lets no template use it then. A name is kept to one
    line, as it may stand in an e-mail's subject; one we don't know is empty, so that a template can ask for it.
    """
    values: dict[str, dict[str, Any]] = {
        "customer": {"name": " ".join((customer_name or "").split())},
        "shop": {
            "name": shop.name_in(locale, default_locale),
            "website": shop.website,
            "postal_address": shop.postal_address_in(locale, default_locale),
            "sms_signature": shop.signature_in(locale, default_locale),
        },
        "links": {"unsubscribe": "", "preferences": ""},
    }
    if coupon is not None:
        values["coupon"] = {
            "code": coupon.code,
            "value": _shorten(Decimal(coupon.value)),
            "zhe": write_zhe(coupon.value),
            "valid_until": coupon.valid_until,
        }
    return values


def _shorten(number: Decimal) -> int | Decimal:
    """20.00 becomes 20 and prints so; it stays a number, so that {% if coupon.value >= 20 %} works."""
    return int(number) if number == number.to_integral_value() else number.normalize()


def write_zhe(percent_off: int | Decimal) -> str:
    """20 % off is `8` (折: tenths of the price that remain), 25 % is `7.5`; 100 % leaves `0`."""
    return f"{((100 - Decimal(percent_off)) / 10).normalize():f}"
