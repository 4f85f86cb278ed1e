"""Twilio's callbacks in our words: what became of a message, and what people write. Source: its OpenAPI document, api v2010,
and its list of error codes."""

from __future__ import annotations

import re

import orjson

from retention.delivery.channels.twilio import DEAD, REGION
from retention.delivery.events.gathered import Effect, Gathered, Inbound, Odd, Waiting, read_word
from retention.delivery.events.keywords import read_meaning
from retention.delivery.events.outcomes import Happened, make_key
from retention.delivery.events.signatures import read_form

KINDS = {
    "accepted": "processed",
    "scheduled": "processed",
    "queued": "processed",
    "sending": "processed",
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "undelivered": "undelivered",
    "failed": "failed",
    "canceled": "dropped",
}
"""Twilio's word -> ours. Any other becomes `other`, with the word as its reason."""

CODES = {
    30001: "queue_full", 30002: "account", 30003: "unreachable", 30004: "blocked", 30005: "invalid", 30006: "landline",
    30007: "filtered", 30008: "unknown", 63016: "outside_window",
}  # fmt: skip
"""Codes of messages that were accepted and failed later -> our word. A phone that is off, a filter, a network that is not
reached say nothing for good: of these only an unknown number (30005) is not used again."""

GONE = {**DEAD, 30005: "invalid"}

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_LONGEST = 10_000


def read_status(waiting: Waiting, into: Gathered) -> None:
    """What became of the message that the signed address names. Twilio gives no time: it is when we heard."""
    into.counts[waiting.slot] = 1
    said = _load(waiting.body)
    sid, status = said.get("MessageSid") or said.get("SmsSid"), said.get("MessageStatus") or said.get("SmsStatus")
    if not sid or not status or waiting.message_id is None:
        _add_odd(waiting, said, "no_id" if not sid else "no_status", into)
        return
    kind, channel, address = KINDS.get(status.lower()), *_read_address(said.get("To"))
    at, code = waiting.received_at.timestamp(), said.get("ErrorCode") or ""
    number = int(code) if code.isascii() and code.isdecimal() and len(code) < 7 else 0
    reason, gone = None, None
    if number:
        word = GONE.get(number) or CODES.get(number) or ("region" if number in REGION else "failed")
        reason, gone = f"{word} {number}", GONE.get(number)
    effect = None
    if gone and address and kind in ("undelivered", "failed"):
        effect = Effect(channel, address, at, waiting.message_id, gone, channel if gone == "opted_out" else None)
    row = Happened(
        waiting.message_id,
        kind or "other",
        make_key(f"{sid}:{status.lower()}"),
        at,
        "twilio",
        sid[:100],
        reason if kind else read_word(status) or None,
        slot=waiting.slot,
        has_effect=effect is not None,
    )
    into.add_outcome(row, waiting, 0, read_word(status), effect)


def read_message(waiting: Waiting, into: Gathered) -> None:
    """What a person wrote to one of our numbers. Twilio gives no time: it is when we heard."""
    into.counts[waiting.slot] = 1
    said = _load(waiting.body)
    sid, (channel, address) = said.get("MessageSid") or said.get("SmsSid"), _read_address(said.get("From"))
    status = (said.get("MessageStatus") or said.get("SmsStatus") or "received").lower()
    if status != "received":
        _add_odd(waiting, said, "not_ours", into)
        return
    if not sid or not address:
        _add_odd(waiting, said, "no_id" if not sid else "no_address", into)
        return
    text = said.get("Body", "")[:_LONGEST]
    # Where Twilio handles the words itself (Advanced Opt-Out), it says what it took them for.
    meaning = {"STOP": "stop", "START": "start"}.get(said.get("OptOutType", "").upper()) or read_meaning(text)
    into.inbound.append(
        Inbound(waiting.slot, channel, address, sid[:100], meaning, text, waiting.received_at.timestamp())
    )


def _add_odd(waiting: Waiting, said: dict[str, str], reason: str, into: Gathered) -> None:
    known = said.get("MessageSid") or said.get("SmsSid")
    word = read_word(said.get("MessageStatus") or said.get("SmsStatus")) or None
    key = make_key(f"{known}:{word}" if known else f"{waiting.inbox_id} 0")
    into.odd.append(Odd(waiting.slot, waiting.source, key, waiting.inbox_id, 0, word, reason, waiting.message_id))


def _read_address(given: str | None) -> tuple[str, str]:
    """The channel and the number; no number where it is none (a short code, a name)."""
    text = (given or "").strip()
    channel = "whatsapp" if text.startswith("whatsapp:") else "sms"
    number = text.removeprefix("whatsapp:").strip()
    return channel, number if _NUMBER.fullmatch(number) else ""


def _load(body: bytes) -> dict[str, str]:
    """The fields: a form's, or those of a JSON object that are texts."""
    if body.lstrip()[:1] == b"{":
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            found = {}
        pairs = [(name, value) for name, value in found.items() if isinstance(value, str)]
    else:
        try:
            pairs = read_form(body)
        except ValueError:
            pairs = []
    return {name: value.replace("\x00", "\ufffd") for name, value in pairs}
