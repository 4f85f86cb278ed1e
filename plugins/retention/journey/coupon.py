"""A coupon as a journey gives it: kinds, keys, and which of them belong together. Reads no file, draws no code."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from babel import Locale as BabelLocale
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from retention.journey.branches import Branch, write_keys
from retention.journey.fields import Duration, Id
from retention.journey.notation import LOCALE_PATTERN, did_you_mean, refuse, show

KINDS = ("percent_off", "amount_off", "gift", "points")
MOST_POINTS = 1_000_000
MOST_MONEY = 1_000_000

_CURRENCIES = frozenset(BabelLocale("en").currencies)


def _read_number(value: object, least: str, most: int, is_whole: bool) -> Decimal:
    """A number from `least` to `most`: whole, or with two decimals at most."""
    of = f"Write a number from {least} to {most}"
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        bare = isinstance(value, str) and re.fullmatch(
            r"[¥￥$€£]?\s*[0-9.]+\s*(%|％|元|块|分|积分|[A-Z]{3})?", value.strip()
        )
        what = f"{show(value)} is not a {'whole ' if is_whole else ''}number."
        raise refuse(what, "Write the number alone, without quotes or a sign." if bare else f"{of}.")
    number = Decimal(str(value))
    if is_whole and number != number.to_integral_value():
        raise refuse(f"{show(value)} is not a whole number.", f"{of}, without a decimal point.")
    if number != round(number, 2):
        raise refuse(f"{show(value)} has more than two decimals.", "Write cents: 12.5 or 12.50.")
    if not Decimal(least) <= number <= most:
        raise refuse(f"{show(value)} is out of range.", f"{of}.")
    return number


def _parse_value(value: object, info: ValidationInfo) -> Decimal | None:
    kind = info.data.get("kind")
    if kind is None:  # the kind is a mistake of its own
        return Decimal(1)
    if kind == "percent_off":
        return _read_number(value, "1", 100, True)
    if kind == "points":
        return _read_number(value, "1", MOST_POINTS, True)
    return _read_number(value, "0.01", MOST_MONEY, False)


def _parse_minimum(value: object) -> Decimal:
    return _read_number(value, "0.01", MOST_MONEY, False)


def _parse_currency(value: object) -> str:
    how = "Write its three letters: CNY, USD, EUR."
    if isinstance(value, str) and value in _CURRENCIES:
        return value
    sign = {"¥": "CNY", "￥": "CNY", "元": "CNY", "人民币": "CNY", "rmb": "CNY", "$": "USD", "€": "EUR", "£": "GBP"}
    near = sign.get(str(value).strip().lower()) or (str(value).upper() if str(value).upper() in _CURRENCIES else None)
    meant = f'Did you mean "{near}"?' if near else did_you_mean(value, ("CNY", "USD", "EUR", "GBP", "HKD", "JPY"))
    raise refuse(f"{show(value)} is not a currency.", f"{meant} {how}".strip())


def _parse_gift(value: object) -> dict[str, str]:
    how = "Write its name, or one for each language: {zh-CN: 挂耳咖啡一盒, en: a box of drip coffee}."
    names = value if isinstance(value, dict) else {"": value}
    for locale, name in names.items():
        if locale and not re.fullmatch(LOCALE_PATTERN, str(locale)):
            raise refuse(f"{show(locale)} is not a locale.", how)
        if not isinstance(name, str) or not name.strip():
            raise refuse(f"{show(name)} is not the name of a gift.", how)
        if len(name) > 80 or "\n" in name.strip():
            raise refuse(f"{show(name)} is too long for a name.", "Write at most 80 characters on one line.")
    if not names:
        raise refuse("the gift has no name.", how)
    return {str(locale): str(name).strip() for locale, name in names.items()}


_NUMBER = {"type": "number", "exclusiveMinimum": 0}
_NAME = {"type": "string", "minLength": 1, "maxLength": 80}
Value = Annotated[Decimal | None, PlainValidator(_parse_value), WithJsonSchema({**_NUMBER, "examples": [20, 30]})]
Money = Annotated[Decimal, PlainValidator(_parse_minimum), WithJsonSchema({**_NUMBER, "maximum": MOST_MONEY})]
Currency = Annotated[
    str,
    PlainValidator(_parse_currency),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["CNY", "USD"]}),
]
Gift = Annotated[
    dict[str, str],
    PlainValidator(_parse_gift),
    WithJsonSchema(
        {
            "anyOf": [
                _NAME,
                {
                    "type": "object",
                    "propertyNames": {"pattern": LOCALE_PATTERN},
                    "additionalProperties": _NAME,
                    "minProperties": 1,
                },
            ],
            "examples": ["挂耳咖啡一盒", {"zh-CN": "挂耳咖啡一盒", "en": "a box of drip coffee"}],
        }
    ),
]


def _rule(kind: str, then: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"required": ["kind"], "properties": {"kind": {"const": kind}}}, "then": then}


_WHOLE = {"type": "integer", "minimum": 1}
_RULES = [
    _rule("percent_off", {"required": ["value"], "properties": {"value": {**_WHOLE, "maximum": 100}}}),
    _rule("amount_off", {"required": ["value", "currency"]}),
    _rule("points", {"required": ["value"], "properties": {"value": {**_WHOLE, "maximum": MOST_POINTS}}}),
    _rule("gift", {"required": ["gift"]}),
    {"if": {"required": ["gift"]}, "then": {"properties": {"kind": {"const": "gift"}}}},
    {"if": {"required": ["minimum"]}, "then": {"required": ["currency"]}},
]


class Coupon(BaseModel):
    """A personal code, for each customer their own. It can be used once."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, json_schema_extra={"allOf": _RULES}
    )

    kind: Literal["percent_off", "amount_off", "gift", "points"] = Field(
        description="percent_off: a percentage off the whole order. amount_off: an amount of money off. "
        "gift: a product on top. points: points for the member's account."
    )
    value: Value = Field(
        default=None,
        description="How much: 20 is 20 % off, 30 of the currency off, or 500 points. Of a gift: what it costs you, if the "
        "figures are to count it.",
    )
    minimum: Money | None = Field(
        default=None,
        description="For orders of this amount or more only: 200 with value 30 is 满200减30.",
        examples=[200],
    )
    gift: Gift | None = Field(
        default=None, description="The name of the gift, as customers read it; one name, or one for each language."
    )
    currency: Currency | None = Field(default=None, description="The currency of value and minimum.")
    pool: Id | None = Field(
        default=None,
        description="Where the codes come from: the name of a pool that was filled with `retention coupons import`. "
        "Without it, codes are generated.",
        examples=["summer"],
    )
    valid: Duration = Field(
        description="How long the code can be used, counted from the step's moment; its last day counts whole. "
        "A code of a pool that ends earlier, ends then."
    )
    grace: Duration | None = Field(
        default=None,
        description="For how long after its last day an order still counts as a redemption in the figures. "
        "Customers are told the last day alone.",
        examples=["2d"],
    )
    per_person: Literal["journey", "step"] = Field(
        default="journey",
        description="journey: one code each time somebody goes through the journey; a further step with a coupon speaks of the "
        "one they have. step: this step gives one of its own.",
    )

    instead: Annotated[CouponBranch, BeforeValidator(write_keys)] | None = Field(
        default=None,
        description="Another coupon for some, by a value of theirs: {by: tier, diamond: {kind: percent_off, value: 30, valid: 7d}}. "
        "The rest get this one.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Coupon:
        if self.kind != "gift" and self.value is None:
            example = {"percent_off": "20 for 20 % off", "amount_off": "30 for 30 yuan off"}.get(self.kind, "500")
            raise refuse('the key "value" is missing.', f"It says how much: {example}.")
        if self.kind == "gift" and self.gift is None:
            raise refuse('the key "gift" is missing.', "It names the product: gift: 挂耳咖啡一盒.")
        if self.kind != "gift" and self.gift is not None:
            raise refuse(f"names a gift, but its kind is {self.kind}.", "Write kind: gift, or delete gift.")
        is_money = (
            self.minimum is not None or self.kind == "amount_off" or self.kind == "gift" and self.value is not None
        )
        if is_money and self.currency is None:
            raise refuse("names an amount of money, but no currency.", "Add currency: CNY.")
        if self.currency and not is_money:
            raise refuse("names a currency, but no amount of money.", "Delete currency, or add minimum: 200.")
        if self.kind == "amount_off" and self.minimum is not None and self.minimum < self.value:
            what = f"takes {self.value:f} off orders from {self.minimum:f} on: they would cost less than nothing."
            raise refuse(what, "Write a minimum above value.")
        return self

    @property
    def counts_for(self) -> timedelta:
        """How long after its last day an order counts."""
        return self.grace or timedelta()


class CouponBranch(Branch):
    """Other coupons for some: one for each value; the rest get the step's own."""

    __pydantic_extra__: dict[str, Coupon]


Coupon.model_rebuild()
