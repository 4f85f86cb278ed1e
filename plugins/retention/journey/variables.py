"""The variables a template may use: their names, meanings and values. The only list of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from retention.journey.conditions import TIERS
from retention.journey.coupon import KINDS
from retention.journey.coupon_words import choose_gift, shorten, write_title, write_zhe
from retention.journey.shop import Shop


@dataclass(frozen=True)
class Variable:
    """`kind` decides what it may be compared with in an {% if %}; `options`: the values it can have, where they are known."""

    kind: Literal["text", "number"]
    meaning: str
    options: tuple[str, ...] = ()


VARIABLES: dict[str, Variable] = {
    "customer.name": Variable("text", "The customer's name. Empty if we don't know it: ask {% if customer.name %}."),
    "customer.tier": Variable(
        "text", 'The tier when the step was due: {% if customer.tier == "diamond" %}. Empty for who has none.', TIERS
    ),
    "customer.category": Variable(
        "text", 'The category of what was bought last: {% if customer.category == "coffee" %}. Empty for who has none.'
    ),
    "coupon.code": Variable("text", "The customer's own code."),
    "coupon.title": Variable(
        "text", "What the coupon is, whatever its kind: 8折券, 满200减30, 赠品：…, 500积分; 20% off."
    ),
    "coupon.kind": Variable("text", 'percent_off, amount_off, gift or points: {% if coupon.kind == "gift" %}.', KINDS),
    "coupon.value": Variable("number", "How much: 20 for 20 % off, 30 of the currency, 500 points. 0 for a gift."),
    "coupon.minimum": Variable("number", "The order it is for has this amount at least. 0 where any order will do."),
    "coupon.gift": Variable("text", "The gift's name in the language of the message. Empty for other kinds."),
    "coupon.zhe": Variable(
        "text", "A percentage as Chinese customers say it: 8 for 20 % off (8 折), 7.5 for 25 %. Empty for other kinds."
    ),
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
    """A customer's coupon: `value` is percent off, an amount of `currency` or points, None for a gift; `valid_until` its last
    day, written for their language; `gift` the names by locale ("" for any)."""

    code: str
    value: int | Decimal | None
    valid_until: str
    kind: str = "percent_off"
    minimum: Decimal | None = None
    currency: str | None = None
    gift: Mapping[str, str] | None = None


def fill_variables(
    *,
    locale: str,
    default_locale: str,
    shop: Shop,
    customer_name: str | None,
    coupon: CouponFacts | None,
    facts: Mapping[str, str] | None = None,
) -> dict[str, dict[str, Any]]:
    """The values of all variables for one message, ready for Jinja: {"customer": {"name": ...}, ...}.

    Without a coupon the group `coupon` is missing: load() lets no template use it then. A name is kept to one
    line, as it may stand in an e-mail's subject; one we don't know is empty, so that a template can ask for it. `facts`:
    what the plan noted of the customer, by name.
    """
    values: dict[str, dict[str, Any]] = {
        "customer": {
            "name": " ".join((customer_name or "").split()),
            "tier": (facts or {}).get("tier", ""),
            "category": (facts or {}).get("category", ""),
        },
        "shop": {
            "name": shop.name_in(locale, default_locale),
            "website": shop.website,
            "postal_address": shop.postal_address_in(locale, default_locale),
            "sms_signature": shop.signature_in(locale, default_locale),
        },
        "links": {"unsubscribe": "", "preferences": ""},
    }
    if coupon is not None:
        value = Decimal(coupon.value) if coupon.value is not None else None
        values["coupon"] = {
            "code": coupon.code,
            "title": write_title(
                kind=coupon.kind,
                value=value,
                minimum=coupon.minimum,
                currency=coupon.currency,
                gift=coupon.gift,
                locale=locale,
            ),
            "kind": coupon.kind,
            "value": shorten(value) if value is not None and coupon.kind != "gift" else 0,
            "minimum": shorten(Decimal(coupon.minimum)) if coupon.minimum is not None else 0,
            "gift": choose_gift(coupon.gift, locale) if coupon.gift else "",
            "zhe": write_zhe(value) if coupon.kind == "percent_off" and value is not None else "",
            "valid_until": coupon.valid_until,
        }
    return values
