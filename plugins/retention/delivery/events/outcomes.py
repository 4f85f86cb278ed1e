"""Outcomes from events: the one way in for what happened to a message after its hand-over. Judges which clicks are machines'.

Safe to repeat: an event is one outcome, however often it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple

from sqlalchemy import Connection

from retention.delivery.receipts import write_ids
from retention.store.queries import run

SEPARATOR = "\x1f"
"""Between the texts of an array on their way to the database; an empty text is null."""

NO_READER_S = timedelta(seconds=5)
"""Who clicks sooner after an e-mail's delivery has not read it: a scanner."""

MAILERS = ("sendgrid",)
"""Providers of e-mail. An SMS is often read before its delivery is reported."""

NO_HAND_S = timedelta(seconds=3)
"""Two different links of a message within this time were not clicked by hand: a scanner tries them all."""


class Happened(NamedTuple):
    """One thing that happened to a message, as an event tells it.

    `event_key`: make_key of the event's own id; `occurred_at`: epoch seconds; `reason`: our words and codes, never a
    sentence of a provider's. `link_key`: make_key of the address of a link that is not ours (those have `link_id`).
    `batch_id` and `address` (small letters): what the event says of the message; one that is another's is not taken.
    `slot`: the caller's own number, to count by. `has_effect`: the caller wants to hear whether it is new.
    """

    message_id: int
    kind: str
    event_key: int
    occurred_at: float
    provider: str | None = None
    provider_id: str | None = None
    reason: str | None = None
    link_id: int | None = None
    link_key: int | None = None
    is_machine: bool = False
    batch_id: int | None = None
    address: str | None = None
    slot: int = 0
    has_effect: bool = False


@dataclass
class Appended:
    """What became of them, by their place in what was given: `new` ones (of those with an effect), and `faults`: why not
    (unknown_message, other_batch, other_address). `fresh` counts what was new, by slot."""

    new: list[int] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    fresh: dict[int, int] = field(default_factory=dict)


def make_key(text: str) -> int:
    """A digest of an id or an address, as a number that fits a bigint."""
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), signed=True)


def append_outcomes(conn: Connection, rows: Sequence[Happened], now: datetime) -> Appended:
    """Append what happened, each event once, to the messages that are ours and went out. Then opens and clicks that a
    machine made are flagged, also those that are only now seen to be one's."""
    came = Appended()
    if not rows:
        return came
    ids, kinds, keys, moments, providers, provider_ids, reasons, link_ids, link_keys, machines, *known = zip(
        *rows, strict=True
    )
    batches, addresses, slots, effects = known
    found = run(
        conn,
        "events/append_outcomes",
        ids=write_ids(ids),
        kinds=join_texts(kinds),
        keys=write_ids(keys),
        moments=write_ids(moments),
        providers=join_texts(providers),
        provider_ids=join_texts(provider_ids),
        reasons=join_texts(reasons),
        link_ids=write_numbers(link_ids),
        link_keys=write_numbers(link_keys),
        machines=write_ids(machines),
        batches=write_numbers(batches),
        addresses=join_texts(addresses),
        slots=write_ids(slots),
        effects=write_ids(effects),
        now=now,
    )
    for slot, fresh, new, places, faults in found:
        came.fresh[slot] = fresh
        came.new.extend(place - 1 for place in new or ())
        came.faults.update(zip((place - 1 for place in places or ()), faults or (), strict=True))
    clicked = {it.message_id for it in rows if it.kind == "clicked"}
    delivered = {it.message_id for it in rows if it.kind == "delivered"}
    if clicked or delivered:
        run(
            conn,
            "events/flag_machines",
            ids=write_ids(sorted(clicked | delivered)),
            mailers=list(MAILERS),
            no_reader=NO_READER_S,
            no_hand=NO_HAND_S,
        )
    return came


def join_texts(texts: Sequence[str | None]) -> str:
    """Texts as one, for string_to_array(..., e'\\x1f', ''): the driver takes a list apart one by one."""
    joined = SEPARATOR.join([text or "" for text in texts])
    if joined.count(SEPARATOR) >= len(texts):  # somebody has sent one
        joined = SEPARATOR.join([(text or "").replace(SEPARATOR, " ") for text in texts])
    return joined


def write_numbers(numbers: Sequence[int | None]) -> str:
    """Numbers as an array in Postgres' own spelling."""
    return "{" + ",".join(["null" if it is None else str(it) for it in numbers]) + "}"
