"""What ends a journey for a customer before its last step: names, meanings and spelling. delivery/exits.py asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from retention.journey.fields import EVENT_KINDS
from retention.journey.notation import did_you_mean, list_options, refuse, show

EXITS = ("unsubscribed", "goal_met", "ordered", "refunded", "complained")
"""What can be said by a word; anything else that a customer does, by {event: kind}."""


@dataclass(frozen=True)
class Exit:
    """One thing that ends the journey: a word of EXITS, or `event` and its kinds. `ends_all`: for transactional steps, too."""

    what: str
    kinds: tuple[str, ...] = ()
    ends_all: bool = False

    def __str__(self) -> str:
        return f"event: {' or '.join(self.kinds)}" if self.kinds else self.what


def _parse_exit(value: object) -> Exit:
    if isinstance(value, Exit):
        return value
    if isinstance(value, str):
        return Exit(_parse_word(value))
    how = "Write a word, {event: review}, or {refunded: everything}."
    if not isinstance(value, dict) or not value:
        raise refuse(f"{show(value)} ends nothing.", how)
    if "event" in value:
        for key in value:
            if key not in ("event", "ends"):
                raise refuse(f"unknown key {show(key)}.", "Write {event: review} or {event: review, ends: everything}.")
        kinds = value["event"] if isinstance(value["event"], list | tuple) else [value["event"]]
        if not kinds:
            raise refuse("the list is empty.", list_options("Events", EVENT_KINDS))
        for kind in kinds:
            if kind == "order":
                raise refuse('"order" is no event here.', "Write ordered.")
            if kind not in EVENT_KINDS:
                near = did_you_mean(kind, EVENT_KINDS)
                raise refuse(f"unknown event {show(kind)}.", f"{near} {list_options('Events', EVENT_KINDS)}".strip())
        return Exit("event", tuple(dict.fromkeys(kinds)), _parse_reach(value["ends"]) if "ends" in value else False)
    if len(value) != 1:
        raise refuse("says more than one thing.", how)
    [(word, reach)] = value.items()
    return Exit(_parse_word(word), (), _parse_reach(reach))


def _parse_word(value: object) -> str:
    if value in EXITS:
        return str(value)
    near = did_you_mean(value, EXITS)
    if value in EVENT_KINDS:
        near = f"Did you mean {{event: {value}}}?"
    raise refuse(f"{show(value)} is not known here.", f"{near} {list_options('Exits', EXITS)}".strip())


def _parse_reach(value: object) -> bool:
    if value in ("marketing", "everything"):
        return value == "everything"
    raise refuse(f"{show(value)} is not known here.", "Write marketing or everything.")


def _parse_exits(value: object) -> tuple[Exit, ...]:
    if not isinstance(value, list | tuple):
        raise refuse(f"{show(value)} is not a list.", "Write it in brackets: [unsubscribed, goal_met].")
    exits = tuple(map(_parse_exit, value))
    words = [each.what for each in exits if not each.kinds]
    for word in words:
        if words.count(word) > 1:
            raise refuse(f"{show(word)} is listed twice.", "Name each once.")
    return exits


def _write(exits: tuple[Exit, ...]) -> list[Any]:
    written: list[Any] = []
    for each in exits:
        if each.kinds:
            written.append({"event": list(each.kinds)} | ({"ends": "everything"} if each.ends_all else {}))
        else:
            written.append({each.what: "everything"} if each.ends_all else each.what)
    return written


_REACH = {"enum": ["marketing", "everything"]}
_KINDS = {"enum": list(EVENT_KINDS)}
_SCHEMA = {
    "type": "array",
    "items": {
        "anyOf": [
            {"enum": list(EXITS)},
            {
                "type": "object",
                "properties": {
                    "event": {"anyOf": [_KINDS, {"type": "array", "items": _KINDS, "minItems": 1}]},
                    "ends": _REACH,
                },
                "required": ["event"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": dict.fromkeys(EXITS, _REACH),
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
            },
        ]
    },
    "examples": [["unsubscribed", "goal_met"], ["ordered", {"refunded": "everything"}, {"event": "complaint_opened"}]],
}
Exits = Annotated[
    tuple[Exit, ...], PlainValidator(_parse_exits), PlainSerializer(_write, when_used="json"), WithJsonSchema(_SCHEMA)
]
"""What exit_when takes."""
