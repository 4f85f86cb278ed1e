"""What a step may depend on: facts, scores and what came of earlier steps. Names, meanings and spelling; judges nobody.

Every condition is asked as of the step's due moment; delivery/conditions.py answers, for a whole cohort at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from retention.journey import notation
from retention.journey.fields import EVENT_KINDS, Id
from retention.journey.notation import did_you_mean, list_options, refuse, show
from retention.journey.policy_fields import parse_country

SIX = ("new", "diamond", "gold", "silver", "churn_warning", "potential")
SHARES = ("high", "mid", "potential", "at_risk")
TIERS = tuple(dict.fromkeys((*SIX, *SHARES)))
CHURN_STATES = ("active", "warning", "churned")
OUTCOMES = {
    "accepted": ("accepted",),
    "delivered": ("delivered", "read"),
    "opened": ("opened", "read", "clicked"),
    "clicked": ("clicked",),
    "replied": ("replied",),
    "bounced": ("bounced", "dropped", "undelivered", "failed"),
}
"""The key of a condition -> the outcomes of a message that make it true. Who clicked has opened."""

OF_STEPS = (*OUTCOMES, "sent")
"""The keys of conditions that name an earlier step."""


@dataclass(frozen=True)
class Since:
    """From when on something counts: entering, `within` before the step is due, or ever (neither)."""

    is_entry: bool = False
    within: timedelta | None = None

    def __str__(self) -> str:
        if self.is_entry:
            return "since entry"
        return f"within {notation.write_duration(self.within)}" if self.within else "ever"


def _parse_since(value: object) -> Since:
    how = "Write since entry, within 30d, or ever."
    if isinstance(value, Since):
        return value
    if value == "since entry":
        return Since(is_entry=True)
    if value == "ever":
        return Since()
    found = re.fullmatch(r"within\s+(\S+)", value) if isinstance(value, str) else None
    if found:
        return Since(within=notation.parse_duration(found[1]))
    near = did_you_mean(value, ["since entry", "ever"])
    if isinstance(value, str) and re.fullmatch(notation.DURATION_PATTERN, value):
        near = f'Did you mean "within {value}"?'
    raise refuse(f"{show(value)} is no time to look back.", f"{near} {how}".strip())


When = Annotated[
    Since,
    PlainValidator(_parse_since),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^(since entry|ever|within [0-9]{1,5}[mhdw])$",
            "examples": ["since entry", "within 30d", "ever"],
        }
    ),
]


def _list_of(options: tuple, label: str) -> Any:
    def parse(value: object) -> tuple:
        values = value if isinstance(value, list | tuple) else [value]
        if not values:
            raise refuse("the list is empty.", list_options(label, map(str, options)))
        for each in values:
            if isinstance(each, bool) or each not in options:
                near = did_you_mean(each, [str(it) for it in options])
                raise refuse(
                    f"{show(each)} is not known here.", f"{near} {list_options(label, map(str, options))}".strip()
                )
        return tuple(dict.fromkeys(values))

    schema = {"type": "array", "items": {"enum": list(options)}, "minItems": 1, "uniqueItems": True}
    return Annotated[tuple, PlainValidator(parse), WithJsonSchema({"anyOf": [schema, {"enum": list(options)}]})]


def _words(pattern: str, kind: str, example: str, check: Callable[[object], Any] | None = None) -> Any:
    def parse(value: object) -> tuple[str, ...]:
        values = value if isinstance(value, list | tuple) else [value]
        if not values:
            raise refuse("the list is empty.", f"Write at least one: [{example}].")
        for each in values:
            if not isinstance(each, str) or not re.fullmatch(pattern, each):
                near = each.upper() if isinstance(each, str) and re.fullmatch(pattern, each.upper()) else ""
                meant = f'Did you mean "{near}"? ' if near else ""
                raise refuse(f"{show(each)} is not {kind}.", f"{meant}Write it like {example}.")
            if check:
                check(each)
        return tuple(dict.fromkeys(values))

    items = {"type": "string", "pattern": f"^{pattern}$"}
    schema = {"anyOf": [{"type": "array", "items": items, "minItems": 1}, items], "examples": [[example]]}
    return Annotated[tuple[str, ...], PlainValidator(parse), WithJsonSchema(schema)]


def _parse_attribute(value: object) -> tuple[str, tuple[str, ...]]:
    how = "Write its name and its values: {level: [gold, silver]}."
    if isinstance(value, tuple):
        return value
    if not isinstance(value, dict) or len(value) != 1:
        raise refuse(f"{show(value)} is not one attribute.", how)
    [(name, said)] = value.items()
    values = said if isinstance(said, list) else [said]
    if not values or any(isinstance(it, dict | list) or it is None for it in values):
        raise refuse(f"{show(name)} has no values.", how)
    return str(name), tuple("true" if it is True else "false" if it is False else str(it) for it in values)


Attribute = Annotated[
    tuple[str, tuple[str, ...]],
    PlainValidator(_parse_attribute),
    PlainSerializer(lambda it: {it[0]: list(it[1])}, when_used="json"),
    WithJsonSchema(
        {"type": "object", "minProperties": 1, "maxProperties": 1, "examples": [{"level": ["gold", "silver"]}]}
    ),
]
Tiers = _list_of(TIERS, "Tiers")
Strata = _list_of((1, 2, 3, 4, 5), "Strata")
Churn = _list_of(CHURN_STATES, "States")
Kinds = _list_of(EVENT_KINDS, "Events")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Bought(_Part):
    """Something of a category, bought and not given back."""

    category: _words(r"[^\s].{0,79}", "a category", "coffee") = Field(
        description="One category or several: one of them is enough."
    )
    when: When = Field(default=Since(), description="From when on it counts: since entry, within 30d, or ever.")


class Happened(_Part):
    """Something that the customer did."""

    kind: Kinds = Field(description="What happened: one kind of event or several, of which one is enough.")
    when: When = Field(
        default=Since(is_entry=True), description="From when on it counts: since entry, within 30d, or ever."
    )


class Worth(_Part):
    """What the customer is expected to be worth in the next 12 months."""

    min: float | None = Field(default=None, description="At least so much, in the customer's currency.")
    max: float | None = Field(default=None, description="Less than so much.")

    @model_validator(mode="after")
    def _some_range(self) -> Worth:
        if self.min is None and self.max is None:
            raise refuse("says no amount.", "Write {min: 500}, {max: 500} or both.")
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise refuse(
                f"nobody is worth at least {self.min:g} and less than {self.max:g}.", "Write the smaller one as min."
            )
        return self


class Condition(_Part):
    """One condition: exactly one of its keys. Those of a list hold together."""

    any: tuple[Condition, ...] | None = Field(default=None, min_length=1, description="At least one of these holds.")
    none: tuple[Condition, ...] | None = Field(default=None, min_length=1, description="None of these holds.")
    coupon: Literal["unused", "used"] | None = Field(
        default=None,
        description="unused: the customer still has an unused code from an earlier step. used: they have ordered with it.",
    )
    ordered: When | None = Field(
        default=None, description="Has ordered, and not taken it back: since entry, within 30d, or ever."
    )
    bought: Bought | None = Field(default=None, description="Has bought something of a category.")
    event: Happened | None = Field(default=None, description="Has done something, or something has happened to them.")
    tier: Tiers | None = Field(default=None, description="Is in one of these tiers. docs/scores.md")
    churn: Churn | None = Field(default=None, description="What the churn scorecard says: active, warning or churned.")
    stratum: Strata | None = Field(
        default=None, description="Is in one of these strata by expected future value; 1 is the best of 5."
    )
    value: Worth | None = Field(default=None, description="Is expected to be worth so much in the next 12 months.")
    country: _words("[A-Z]{2}", "a country", "CN", parse_country) | None = Field(default=None, description="Lives in one of these.")
    locale: _words(notation.LOCALE_PATTERN[1:-1], "a locale", "zh-CN") | None = Field(
        default=None, description="Reads one of these languages, as written with the customer."
    )
    attribute: Attribute | None = Field(
        default=None, description="An attribute of the customer has one of these values: {level: [gold, silver]}."
    )
    sent: Id | None = Field(
        default=None,
        description="A message of this earlier step went out, or is still to: it was neither withheld nor refused.",
        examples=["greeting"],
    )
    accepted: Id | None = Field(
        default=None, description="A message of this earlier step went out.", examples=["greeting"]
    )
    delivered: Id | None = Field(
        default=None, description="A message of this earlier step arrived.", examples=["greeting"]
    )
    opened: Id | None = Field(
        default=None, description="A message of this earlier step was opened (or clicked).", examples=["greeting"]
    )
    clicked: Id | None = Field(
        default=None, description="A link in a message of this earlier step was clicked.", examples=["greeting"]
    )
    replied: Id | None = Field(
        default=None, description="A message of this earlier step was answered.", examples=["greeting"]
    )
    bounced: Id | None = Field(
        default=None, description="A message of this earlier step came back.", examples=["greeting"]
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Condition:
        said = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(said) != 1:
            what = "says nothing." if not said else f"says {len(said)} things: {', '.join(said)}."
            remedy = (
                "Write one key." if not said else 'Begin each with a "- " of its own; those of a list hold together.'
            )
            raise refuse(what, remedy)
        return self

    @property
    def key(self) -> str:
        """The one key that is written."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def scheme(self) -> str:
        """Of `tier`: which of the two sets of tiers the names are of; the six where it could be either."""
        return "six" if set(self.tier or ()) <= set(SIX) else "shares"

    def __str__(self) -> str:
        """As it is written, in one line."""
        said = getattr(self, self.key)
        if self.key in ("any", "none"):
            return f"{self.key} of ({'; '.join(map(str, said))})"
        if isinstance(said, BaseModel):
            said = said.model_dump(mode="json", exclude_none=True)
        elif self.key == "attribute":
            said = {said[0]: said[1]}
        return f"{self.key}: {_write(said)}"

    @property
    def needs_scores(self) -> bool:
        """Whether what it asks is worked out by the DAG scoring."""
        return self.key in ("tier", "churn", "stratum", "value")


def _write(said: Any) -> str:
    if isinstance(said, dict):
        return ", ".join(f"{name} {_write(it)}" for name, it in said.items())
    return " or ".join(map(str, said)) if isinstance(said, list | tuple) else str(said)


def walk(conditions: tuple[Condition, ...], path: tuple = ()) -> Iterator[tuple[tuple, Condition]]:
    """Every condition with its place below `path`, those inside any and none, too."""
    for number, each in enumerate(conditions):
        yield (*path, number), each
        for inner in ("any", "none"):
            yield from walk(getattr(each, inner) or (), (*path, number, inner))


def _accept_word(value: object) -> object:
    if value == "coupon_unused":
        return [{"coupon": "unused"}]
    if isinstance(value, str):
        near = did_you_mean(value, ["coupon_unused"])
        keys = ", ".join(Condition.model_fields)
        raise refuse(
            f"{show(value)} is no condition.",
            f"{near} Write coupon_unused, or a list of conditions with: {keys}.".strip(),
        )
    return [value] if isinstance(value, dict) else value


Conditions = Annotated[
    tuple[Condition, ...],
    Field(min_length=1),
    BeforeValidator(_accept_word, json_schema_input_type=Literal["coupon_unused"] | tuple[Condition, ...] | Condition),
]
"""What only_if takes: a list of conditions that hold together, or the word coupon_unused."""
