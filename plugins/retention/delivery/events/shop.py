"""A shop's own events: a list of {id, customer_id, kind, occurred_at, data}, or {"events": [...]}."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson

from retention.delivery.events.gathered import Gathered, Odd, ShopEvent, Waiting, read_word
from retention.delivery.events.json_events import BROKEN, load_events
from retention.delivery.events.outcomes import make_key

SOURCE = "webhook"
"""What the keys of its events begin with."""

_LONGEST_ID = 200
_AHEAD = timedelta(days=1)


def read_shop(waiting: Waiting, into: Gathered) -> None:
    """Take the events of one request apart. One that can't be understood is odd, the others go on."""
    events = load_events(waiting.body)
    if len(events) == 1 and isinstance(events[0], dict) and isinstance(events[0].get("events"), list):
        events = events[0]["events"]
    into.counts[waiting.slot] = len(events)
    for position, event in enumerate(events):
        try:
            found = _read(event, position, waiting)
        except (TypeError, ValueError, OverflowError):
            found = "not_understood"
        if isinstance(found, ShopEvent):
            into.shop.append(found)
        else:
            into.odd.append(
                Odd(
                    waiting.slot, "shop", _make_key(event, position, waiting), waiting.inbox_id, position,
                    read_word(event.get("kind")) if isinstance(event, dict) else None, found,
                )
            )  # fmt: skip


def _read(event: Any, position: int, waiting: Waiting) -> ShopEvent | str:
    """The event, or why it is none."""
    if not isinstance(event, dict):
        return "not_json" if event is BROKEN else "no_object"
    known, customer = _read_id(event.get("id")), _read_id(event.get("customer_id"))
    if known is None:
        return "no_id"
    if customer is None:
        return "no_customer"
    kind, data = event.get("kind"), event.get("data", {})
    if not isinstance(kind, str) or not kind:
        return "no_kind"
    if not isinstance(data, dict):
        return "no_data"
    try:
        moment = datetime.fromisoformat(event["occurred_at"])
    except (KeyError, TypeError, ValueError):
        return "no_time"
    if moment.tzinfo is None:
        return "no_zone"
    if not 0 < moment.timestamp() < (waiting.received_at + _AHEAD).timestamp():
        return "no_time"
    written = orjson.dumps(data).decode()
    return ShopEvent(
        waiting.slot, waiting.inbox_id, position, make_key(known), f"{SOURCE}:{known}", customer, kind,
        moment.timestamp(), written,
    )  # fmt: skip


def _read_id(value: Any) -> str | None:
    text = str(value).strip() if isinstance(value, str) or type(value) is int else ""
    return text if 0 < len(text) <= _LONGEST_ID and text.isprintable() else None


def _make_key(event: Any, position: int, waiting: Waiting) -> int:
    known = _read_id(event.get("id")) if isinstance(event, dict) else None
    return make_key(known or f"\n{waiting.inbox_id} {position}")
