"""What was read out of requests, on its way to the database: lists to append, all of one turn together."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from retention.delivery.events.outcomes import Happened


class Waiting(NamedTuple):
    """A request from the inbox; `slot` is its place in this turn."""

    slot: int
    inbox_id: int
    source: str
    body: bytes
    message_id: int | None
    received_at: datetime


class Effect(NamedTuple):
    """What an event changes besides being on record: `suppress`: why its address is not to be used again; `withdraw`: the
    source of a consent's end; `is_return`: it takes an end back."""

    channel: str
    address: str
    occurred_at: float
    message_id: int | None = None
    suppress: str | None = None
    withdraw: str | None = None
    is_return: bool = False


class Odd(NamedTuple):
    """An event that becomes nothing, and why."""

    slot: int
    source: str
    event_key: int
    inbox_id: int
    position: int
    word: str | None
    reason: str
    message_id: int | None = None


class Inbound(NamedTuple):
    """A message from a person."""

    slot: int
    channel: str
    address: str
    provider_id: str
    meaning: str
    text: str
    occurred_at: float


class ShopEvent(NamedTuple):
    """One thing a customer did, as the shop tells it. `data` is JSON."""

    slot: int
    inbox_id: int
    position: int
    event_key: int
    source_key: str
    customer_id: str
    kind: str
    occurred_at: float
    data: str


@dataclass
class Gathered:
    """One turn's. `effects` stand beside what causes them: an outcome by its place, an oddity by source and key."""

    outcomes: list[Happened] = field(default_factory=list)
    positions: list[tuple[int, int]] = field(default_factory=list)
    """Of each outcome: the request's id and the event's place in it."""
    words: list[str] = field(default_factory=list)
    effects: dict[int, Effect] = field(default_factory=dict)
    odd: list[Odd] = field(default_factory=list)
    odd_effects: dict[tuple[str, int], Effect] = field(default_factory=dict)
    inbound: list[Inbound] = field(default_factory=list)
    shop: list[ShopEvent] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    """Events in each request, by slot."""

    def add_outcome(self, row: Happened, waiting: Waiting, position: int, word: str, effect: Effect | None) -> None:
        """An event of one of our messages."""
        if effect is not None:
            self.effects[len(self.outcomes)] = effect
        self.outcomes.append(row)
        self.positions.append((waiting.inbox_id, position))
        self.words.append(word)


_NOT_IN_A_WORD = re.compile(r"[^a-z0-9_]+")


def read_word(value: Any) -> str:
    """A sender's word for something, fit for a column and a list: it may have sent anything."""
    return _NOT_IN_A_WORD.sub("_", str(value).lower())[:40].strip("_") if isinstance(value, str) else ""


def read_id(value: Any) -> int | None:
    """A message's id as a number or its digits."""
    if type(value) is str:
        return int(value) if value.isdecimal() and len(value) < 19 and value.isascii() else None
    return value if type(value) is int and 0 < value < 10**18 else None
