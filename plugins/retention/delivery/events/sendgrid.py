"""SendGrid's events in our words. Source: its Event Webhook reference (events, bounce types, reasons of drops)."""

from __future__ import annotations

import re
from typing import Any

import orjson

from retention.delivery.events.agents import is_machine_agent
from retention.delivery.events.gathered import Effect, Gathered, Odd, Waiting, read_id, read_word
from retention.delivery.events.json_events import BROKEN, load_events
from retention.delivery.events.outcomes import Happened, make_key

KINDS = {
    "processed": "processed",
    "deferred": "deferred",
    "delivered": "delivered",
    "bounce": "bounced",
    "dropped": "dropped",
    "open": "opened",
    "click": "clicked",
    "spamreport": "complained",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
    "group_resubscribe": "resubscribed",
}
"""SendGrid's word -> ours. Any other becomes `other`, with the word as its reason."""

DROPS = {
    "bounced address": ("bounced_address", "bounced", None),
    "spam reporting address": ("spam_reporting_address", "complained", "provider"),
    "unsubscribed address": ("unsubscribed_address", None, "provider"),
    "invalid": ("invalid_address", "invalid", None),
    "spam content": ("spam_content", None, None),
    "recipient list over package quota": ("over_quota", None, None),
    "invalid smtpapi header": ("invalid_header", None, None),
}
"""Why SendGrid did not even try -> our word, why to suppress the address, the source of a consent's end."""

NOT_THE_ADDRESS = frozenset(("technical", "content", "reputation", "frequency or volume too high"))
"""Classes of bounces that are about us or the way, not about the address: they suppress nobody."""

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_AT_MOST_AHEAD_S = 86_400.0


def read_sendgrid(waiting: Waiting, into: Gathered) -> None:
    """Take the events of one request apart. One that can't be understood is odd, the others go on."""
    events = load_events(waiting.body)
    into.counts[waiting.slot] = len(events)
    latest = waiting.received_at.timestamp() + _AT_MOST_AHEAD_S
    for position, event in enumerate(events):
        try:
            fault = _read(event, position, waiting, latest, into)
        except (TypeError, ValueError, AttributeError, OverflowError):
            fault = "not_understood"
        if fault:
            _add_odd(event, position, waiting, fault, into)


def _read(event: Any, position: int, waiting: Waiting, latest: float, into: Gathered) -> str | None:
    """One event; returns why it is odd."""
    if type(event) is not dict:
        return "not_json" if event is BROKEN else "no_object"
    message_id = read_id(event.get("retention_message"))
    if message_id is None:
        return "not_ours"
    at = event.get("timestamp")
    if type(at) is not int and type(at) is not float or not 0 < at < latest:
        return "no_time"
    word = event.get("event")
    kind = KINDS.get(word) if type(word) is str else None
    reason, effect, is_machine, link_key = None, None, False, None
    email = event.get("email")
    address = email.lower() if type(email) is str and email.isascii() else None
    if kind == "opened":
        is_machine = event.get("sg_machine_open") is True or is_machine_agent(_text(event.get("useragent")))
    elif kind == "clicked":
        is_machine = is_machine_agent(_text(event.get("useragent")))
        url = _text(event.get("url"))
        link_key = make_key(url) if url else None
    elif kind == "deferred":
        attempt = event.get("attempt")
        reason = f"attempt {int(attempt)}" if str(attempt).isdecimal() and len(str(attempt)) < 6 else None
    elif kind not in ("delivered", "processed"):
        reason, effect = _weigh(event, kind, float(at), message_id)
    told_id = event.get("sg_message_id")
    into.add_outcome(
        Happened(
            message_id,
            kind or "other",
            _make_key(event),
            at,
            "sendgrid",
            told_id.partition(".")[0][:100] if type(told_id) is str else None,
            reason if kind else read_word(word) or None,
            None,
            link_key,
            is_machine,
            read_id(event.get("retention_batch")),
            address,
            waiting.slot,
            effect is not None,
        ),
        waiting,
        position,
        word if kind else read_word(word),
        effect,
    )
    return None


def _weigh(event: dict, kind: str | None, at: float, message_id: int | None) -> tuple[str | None, Effect | None]:
    """The reason of an event that may end something, and what it ends."""
    email = event.get("email")
    address = email.lower() if isinstance(email, str) and "@" in email else ""
    reason, suppress, withdraw = None, None, None
    if kind == "bounced":
        found = _STATUS.search(str(event.get("status")))
        status = found[0] if found else ""
        about = str(event.get("bounce_classification") or "").lower()
        is_hard = event.get("type") == "bounce" and not status.startswith("4") and about not in NOT_THE_ADDRESS
        reason = f"{'hard' if is_hard else 'blocked'} {status}".rstrip()
        suppress = "bounced" if is_hard else None
    elif kind == "dropped":
        said = str(event.get("reason")).lower().partition(" (")[0].strip()
        reason, suppress, withdraw = DROPS.get(said, ("refused", None, None))
    elif kind == "complained":
        suppress, withdraw = "complained", "provider"
    elif kind == "unsubscribed":
        withdraw = "provider"
        reason = "group" if event.get("event") == "group_unsubscribe" else None
    has_effect = address and (suppress or withdraw or kind == "resubscribed")
    effect = Effect("email", address, at, message_id, suppress, withdraw, kind == "resubscribed")
    return reason, effect if has_effect else None


def _add_odd(event: Any, position: int, waiting: Waiting, fault: str, into: Gathered) -> None:
    """Keep it with its reason. A bounce, a complaint or a general unsubscribe counts for the address all the same: SendGrid
    keeps one list of them for all that its account sends."""
    is_event = type(event) is dict
    key = _make_key(event) if is_event else make_key(f"{waiting.inbox_id} {position}")
    word = read_word(event.get("event")) if is_event else None
    into.odd.append(Odd(waiting.slot, "sendgrid", key, waiting.inbox_id, position, word, fault))
    at = event.get("timestamp") if is_event else None
    if fault == "not_ours" and word in ("bounce", "spamreport", "unsubscribe") and type(at) is int and at > 0:
        _, effect = _weigh(event, KINDS[word], min(at, waiting.received_at.timestamp()), None)
        if effect:
            into.odd_effects["sendgrid", key] = effect


def _make_key(event: dict) -> int:
    known = event.get("sg_event_id")
    if type(known) is str and known:
        return make_key(known)
    try:
        return make_key(orjson.dumps(event, option=orjson.OPT_SORT_KEYS).decode())
    except TypeError:  # numbers of any length, halves of characters
        return make_key(repr(event))


def _text(value: Any) -> str:
    return value if type(value) is str else ""
