"""Any gateway by webhook: signed JSON to an address of the company's own. docs/webhook.schema.json is the format.

A request is signed with HMAC-SHA256 over the instant in Retention-Timestamp, a full stop and the raw body. Redirects are
not followed: a request goes where the Connection says, or nowhere.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from hashlib import blake2b
from ipaddress import ip_address
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import orjson

from retention.delivery.accounts import Account, Fields
from retention.delivery.channels.base import Call, HttpProvider, Letter, Ours, Reading, Receipt, Sent
from retention.delivery.http import Answer, Request
from retention.errors import AccountRefused, RetryLater

MAX_MESSAGES = 100
LONGEST_S = 60
EXTRA = ("batch_size", "per_second", "timeout_s", "status_url")

LATER = frozenset((408, 409, 425, 429))
"""Statuses that say: not now."""

DEAD = frozenset(("opted_out", "blocked", "invalid"))
"""Reasons of a gateway's for a customer who is not to be written to again on this channel."""

_REASON = re.compile(r"[a-z][a-z_]{0,39}[0-9]{0,5}")
"""A code, never a sentence or a number: those may be somebody's."""

_SHORTEST_SECRET = 16


class WebhookProvider(HttpProvider):
    """Carries webhook: up to `batch_size` messages a request."""

    name = "webhook"
    at_once = 4

    def __init__(self, account: Account, ours: Ours):
        fields = Fields(account)
        self._url = _read_url(fields, account.base_url, "host")
        secrets = [it.strip() for it in account.password.split(",") if it.strip()]
        remedy = "It is the secret that signs, known to the gateway; with commas several, the first signs: openssl rand -hex 32"
        if not secrets or min(map(len, secrets)) < _SHORTEST_SECRET:
            what = f"has a password shorter than {_SHORTEST_SECRET} characters." if secrets else "has no password."
            fields.refuse(what, remedy)
        size = fields.take_number("batch_size", MAX_MESSAGES, at_least=1)
        self.timeout_s = fields.take_number("timeout_s", 30.0, at_least=1) or 0
        if size is None or not float(size).is_integer() or size > MAX_MESSAGES:
            fields.refuse('extra "batch_size" does not fit.', f"Write a whole number from 1 to {MAX_MESSAGES}.")
        if not 0 < self.timeout_s <= LONGEST_S:
            fields.refuse('extra "timeout_s" does not fit.', f"Write seconds, from 1 to {LONGEST_S}.")
        self.per_second = fields.take_number("per_second", 10.0, at_least=0.01)
        status_url = fields.take("status_url")
        self._status_url = _read_url(fields, str(status_url), 'extra "status_url"') if status_url else None
        fields.finish(EXTRA)
        super().__init__()
        self._size, self._secret, self._clock = int(size or 1), secrets[0].encode(), ours.clock
        self.account = f"webhook:{account.conn_id}"

    def build(self, letters: Sequence[Letter]) -> list[Request | Receipt]:
        """A request for each `batch_size` of them."""
        return [self._write(letters[at : at + self._size]) for at in range(0, len(letters), self._size)]

    def _write(self, letters: Sequence[Letter]) -> Request:
        key = _name_request(letters)
        body = orjson.dumps(
            {
                "batch": letters[0].batch_id if letters else 0,
                "mode": letters[0].mode if letters else "test",
                "messages": [_describe(letter) for letter in letters],
            }
        )
        headers = ("Content-Type: application/json", "Accept: application/json", f"Idempotency-Key: {key}")
        return Request(self._url, lambda: (*headers, *self._sign(body)), body, Call(tuple(letters)))

    def _sign(self, said: bytes) -> tuple[str, str]:
        """At the last moment: a request may have to wait for its turn, and a gateway takes no old signature."""
        timestamp = str(int(self._clock().timestamp()))
        return f"Retention-Timestamp: {timestamp}", f"Retention-Signature: {sign(self._secret, timestamp, said)}"

    def read(self, answer: Answer, call: Call) -> Reading:
        """2xx took all but whom it names; other answers took nobody."""
        status = answer.status
        if 200 <= status < 300:
            others = _read_refused(answer.body, call)
            if others is None:
                return Reading("unknown", reason="webhook answer not understood")
            return Reading("accepted", _name_request(call.letters), others=others)
        if status in LATER or status >= 500:
            return Reading("later", reason=f"webhook {status}")
        if status in (400, 413, 422):
            return Reading("split", reason=f"refused {status}")
        conn_id = self.account.partition(":")[2]
        if 300 <= status < 400:
            raise AccountRefused(
                f"The gateway answers with a redirect ({status}), which is not followed. Write the address it leads to as "
                f"host of the Connection {conn_id}, then clear the task."
            )
        if 400 <= status:
            raise AccountRefused(
                f"The gateway refuses all requests ({status}). Put right host and password of the Connection {conn_id}, "
                "or the gateway, then clear the task."
            )
        return Reading("unknown", reason=f"webhook {status}")

    def look_up(self, messages: Sequence[Sent]) -> dict[int, Receipt | None]:
        """By the gateway's status address, where it has one: certain of what it lists."""
        found: dict[int, Receipt | None] = {}
        self.trouble = None
        for at in range(0, len(messages) if self._status_url else 0, MAX_MESSAGES):
            part = messages[at : at + MAX_MESSAGES]
            query = f"ids={','.join(str(it.message_id) for it in part)}"
            headers = ("Accept: application/json", *self._sign(query.encode()))
            answer = self.client.fetch(Request(f"{self._status_url}?{query}", headers, method="GET"))
            if answer.status != 200:
                self.note_trouble(answer)
                break
            asked = {it.message_id for it in part}
            listed = _load(answer.body).get("messages")
            for row in listed if isinstance(listed, list) else ():
                message_id = _read_id(row)
                if message_id not in asked:
                    continue
                if row.get("status") == "accepted":
                    found[message_id] = Receipt(message_id, "accepted", f"status:{message_id}")
                elif row.get("status") == "refused":
                    found[message_id] = _refuse(message_id, row)
        return found

    def check(self) -> str:
        """Whether the gateway takes our signature: an empty list of messages."""
        answer = self.client.fetch(self._write(()))
        if 200 <= answer.status < 300:
            return "The gateway answers and takes the signature."
        if 300 <= answer.status < 500 and answer.status not in LATER:
            raise AccountRefused(f"The gateway refuses an empty list of messages ({answer.status}).")
        raise RetryLater(f"The gateway did not answer as expected ({answer.status or answer.error}).")


def sign(secret: bytes, timestamp: str, said: bytes) -> str:
    """What Retention-Signature says: HMAC-SHA256 in hexadecimal digits over the timestamp, a full stop and the bytes."""
    return hmac.new(secret, timestamp.encode() + b"." + said, "sha256").hexdigest()


def _describe(letter: Letter) -> dict[str, Any]:
    sheet = letter.sheet
    told = {
        "id": letter.message_id,
        "customer_id": letter.customer_id or letter.address,
        "address": letter.address,
        "locale": letter.locale,
        "purpose": "marketing" if sheet.is_marketing else "transactional",
        "journey": sheet.journey,
        "step": sheet.step,
        "text": letter.text,
    }
    return told if letter.subject is None else {**told, "title": letter.subject}


def _name_request(letters: Sequence[Letter]) -> str:
    """The same for the same messages, however often they are handed over: the idempotency key. A test is never a repeat."""
    if not all(letter.message_id for letter in letters):
        return f"test-{token_hex(8)}"
    ids = ",".join(str(letter.message_id) for letter in letters)
    return blake2b(ids.encode(), digest_size=16).hexdigest()


def _read_refused(body: bytes, call: Call) -> dict[int, Receipt] | None:
    """Receipts of those whom an answer names as refused; None for an answer that names them in another way than agreed."""
    try:
        said = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError:
        return None if body.lstrip()[:1] == b"{" else {}  # cut off; or words for people, as servers have for a 200
    listed = said.get("refused", []) if isinstance(said, dict) else []
    sent = {letter.message_id for letter in call.letters}
    if not isinstance(listed, list) or not all(_read_id(row) in sent for row in listed):
        return None
    return {_read_id(row): _refuse(_read_id(row), row) for row in listed}


def _refuse(message_id: int, row: dict[str, Any]) -> Receipt:
    said = row.get("reason")
    reason = said if isinstance(said, str) and _REASON.fullmatch(said) else "refused"
    return Receipt(message_id, "refused", reason=f"gateway {reason}", suppress=reason if reason in DEAD else None)


def _read_id(row: Any) -> int:
    """The id in a row, as number or text; -1 for none."""
    value = row.get("id") if isinstance(row, dict) else None
    is_id = isinstance(value, int) and not isinstance(value, bool) or isinstance(value, str) and value.isdecimal()
    return int(value) if is_id and len(str(value)) < 20 else -1


def _read_url(fields: Fields, url: str, what: str) -> str:
    """An https address, or one on this machine."""
    remedy = "Write an https address without a query: https://gateway.shop.example.com/messages."
    if not url:
        fields.refuse(f"has no {what}.", remedy)
        return ""
    try:
        parts = urlsplit(url)
        is_fine = parts.scheme == "https" or parts.scheme == "http" and _is_here(parts.hostname or "")
        is_fine = is_fine and bool(parts.hostname) and (parts.port or 1) > 0
        is_fine = is_fine and not (parts.query or parts.fragment or parts.username or parts.password)
    except ValueError:
        is_fine = False
    if not is_fine or not re.fullmatch(r"[!-~]+", url):
        fields.refuse(f"{what} is no address that may be used.", remedy)
    return url


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _load(body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}
