"""The stand-in's gateway: what a company's own receiving end of the channel `webhook` does. Source: docs/delivery.md and
docs/webhook.schema.json. Keeps nothing itself: that is the book's.

It takes whoever it does not know twice, so that a repeat of ours is counted and not hidden.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

import orjson

from retention.bench.stub_book import Book, Window, read_clock
from retention.bench.stub_reply import JSON, Reply

PATH, STATUS_PATH = "/messages", "/messages/status"
SECRETS = ("gateway-secret-one", "gateway-secret-two")
"""Either is believed, as while a secret is being replaced."""

REFUSED = "refused-"
"""A customer whose id begins so is refused in an answer that takes the others; what follows is the reason."""

BAD = "bad-"
"""A request with a customer whose id begins so is refused as a whole: 400."""

_NEEDED = ("id", "customer_id", "address", "locale", "purpose", "journey", "step", "text")


class Gateway:
    """Answers for the company. `rate`: how many requests are accepted in any second."""

    def __init__(self, book: Book, rate: float | None):
        self._book, self._window = book, Window(rate)

    def send(self, headers: Mapping[bytes, bytes], body: bytes) -> Reply:
        """Takes messages, or none: then it is asked whether it is there."""
        if not _is_signed(headers, body):
            return _say(401, "signature")
        now = read_clock()
        if not self._window.has_room(now):
            self._book.rate_limited += 1
            return self.say_too_many()
        fault = _check(headers, body)
        if fault:
            return _say(400, fault)
        messages = orjson.loads(body)["messages"]
        if any(it["customer_id"].startswith(BAD) for it in messages):
            return _say(400, "a customer is bad")
        self._window.take(now)
        refused = [it for it in messages if it["customer_id"].startswith(REFUSED)]
        taken = [it for it in messages if not it["customer_id"].startswith(REFUSED)]
        self._book.accept_pushes(taken, now)
        said = [{"id": it["id"], "reason": it["customer_id"].removeprefix(REFUSED)} for it in refused]
        return Reply(200, orjson.dumps({"refused": said}), JSON, is_accepted=bool(taken))

    def say_too_many(self) -> Reply:
        return Reply(429, b'{"error":"too many"}', JSON + b"Retry-After: 1\r\n")

    def say_broken(self) -> Reply:
        return _say(500, "broken")

    def say_too_large(self) -> Reply:
        return _say(413, "too large")

    def tell_status(self, headers: Mapping[bytes, bytes], query: str) -> Reply:
        """Of the messages asked about, those that were taken."""
        if not _is_signed(headers, query.encode()):
            return _say(401, "signature")
        ids = [int(it) for it in query.removeprefix("ids=").split(",") if it.isdecimal()]
        there = [m for m in ids if any(m in drawer.pushed for drawer in self._book.drawers)]
        return Reply(200, orjson.dumps({"messages": [{"id": m, "status": "accepted"} for m in there]}), JSON)


def _say(status: int, error: str) -> Reply:
    return Reply(status, orjson.dumps({"error": error}), JSON)


def _is_signed(headers: Mapping[bytes, bytes], said: bytes) -> bool:
    """Not by our own code: so that it proves it."""
    timestamp, given = headers.get(b"retention-timestamp", b""), headers.get(b"retention-signature", b"")
    made = [hmac.new(secret.encode(), timestamp + b"." + said, "sha256").hexdigest().encode() for secret in SECRETS]
    return timestamp.isdigit() and any(hmac.compare_digest(it, given) for it in made)


def _check(headers: Mapping[bytes, bytes], body: bytes) -> str | None:
    if headers.get(b"content-type") != b"application/json" or not headers.get(b"idempotency-key"):
        return "headers"
    try:
        said: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "no JSON"
    if not isinstance(said, dict) or said.get("mode") not in ("live", "test") or not isinstance(said.get("batch"), int):
        return "batch"
    messages = said.get("messages")
    if not isinstance(messages, list) or not all(isinstance(it, dict) and it.keys() >= {*_NEEDED} for it in messages):
        return "messages"
    return None
