"""E-mail by SendGrid: POST /v3/mail/send, up to 1,000 people a request. Source: SendGrid's OpenAPI document, v3.

People who share a sheet go in one request, and SendGrid fills the gaps: each gap is a mark that nobody can guess, so that
no name can hold one. Whole letters of their own travel as the values of such marks.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson
from email_validator import EmailNotValidError, validate_email

from retention.delivery.accounts import Account, Fields
from retention.delivery.channels.base import Call, HttpProvider, Letter, Ours, Reading, Receipt, Sent
from retention.delivery.http import Answer, Request, name_host
from retention.delivery.sheets import in_html, mark
from retention.delivery.tokens import UNSUBSCRIBE
from retention.errors import AccountRefused, RetryLater

BASE_URL = "https://api.sendgrid.com"
MAX_PEOPLE = 1000
MAX_FILLED_BYTES = 10_000
"""What the values of one person may come to, marks included."""

MAX_BODY_BYTES = 20_000_000
"""SendGrid takes less than 30 MB a request."""

LATER = frozenset((408, 425, 429))
"""Statuses below 500 that say: not now."""

GATEWAY = frozenset((502, 504))
"""Statuses of a gateway that did not hear from the provider behind it: it may have acted."""

EXTRA = ("from_email", "from_name", "reply_to", "per_second", "event_public_key")


class SendGridProvider(HttpProvider):
    """Carries e-mail. The unsubscribe address of each letter begins with our public address."""

    name = "sendgrid"
    at_once = 4
    timeout_s = 60.0

    def __init__(self, account: Account, ours: Ours):
        fields = Fields(account)
        fields.check_plain()
        key = fields.require("password", account.password, "It is the API key: SG.xxxx.")
        sender = fields.take("from_email")
        if not _is_email(sender):
            what = 'extra "from_email" is no e-mail address.' if sender else 'extra has no "from_email".'
            fields.refuse(what, "It is the verified sender: news@shop.example.com.")
        self._from_email, self._from_name = sender, fields.take("from_name")
        self._reply_to = fields.take("reply_to")
        if self._reply_to and not _is_email(self._reply_to):
            fields.refuse('extra "reply_to" is no e-mail address.', "Where answers go: care@shop.example.com.")
        self.per_second = fields.take_number("per_second", 100.0, at_least=0.01)
        fields.take("event_public_key")  # what its events are checked by, on their way in: not ours to use
        fields.finish(EXTRA)
        super().__init__()
        self._url = (account.base_url or BASE_URL).rstrip("/")
        self._headers = (f"Authorization: Bearer {key}", "Content-Type: application/json", "Accept: application/json")
        self._signer, self._public_url = ours.signer, ours.public_url.rstrip("/")
        self.account = f"sendgrid:{account.conn_id}"

    def build(self, letters: Sequence[Letter]) -> list[Request | Receipt]:
        """One request for all who share a sheet, one for all with a letter of their own, one each for what is too long."""
        shared: dict[int, list[Letter]] = defaultdict(list)
        single: list[Letter] = []
        own: list[Letter] = []
        for letter in letters:
            room = MAX_FILLED_BYTES - 1000
            if letter.sheet.is_own:
                sheet = letter.sheet
                length = sum(len(piece) for part in (sheet.subject, sheet.html, sheet.text) for piece in part or ())
                (own if _fits(length, letter, room) else single).append(letter)
            else:
                (shared[id(letter.sheet)] if _fits(3 * sum(map(len, letter.values)), letter, room) else single).append(
                    letter
                )
        groups = [*shared.values(), *([own] if own else [])]
        requests = [self._write(part) for group in groups for part in _cut(group)]
        return [*requests, *(self._write([letter], is_filled=True) for letter in single)]

    def _write(self, letters: Sequence[Letter], *, is_filled: bool = False) -> Request:
        sheet = letters[0].sheet
        nonce = secrets.token_hex(6)
        if is_filled:
            subject, text, html = letters[0].subject, letters[0].text, letters[0].html
            gaps: list[tuple[str, Any]] = []
        elif sheet.is_own:
            subject, text, html = f"-{nonce}s-", f"-{nonce}p-", f"-{nonce}h-"
            gaps = [(subject, None), (text, None), (html, None)]
        else:
            marks = {gap: f"-{nonce}{gap[0]}{'h' if gap[1] else 't'}-" for gap in sheet.gaps()}
            subject, text, html = (mark(part or (), marks) for part in (sheet.subject, sheet.text, sheet.html))
            gaps = [(marks[gap], gap) for gap in marks]
        people = [self._write_person(letter, gaps) for letter in letters]
        body: dict[str, Any] = {
            "personalizations": people,
            "from": {"email": self._from_email, "name": self._from_name or sheet.sender},
            "subject": subject or " ",
            "content": [{"type": "text/plain", "value": text}],
            # Our own links end a consent and count clicks, and our own record knows of it.
            "tracking_settings": {
                "subscription_tracking": {"enable": False},
                "click_tracking": {"enable": False, "enable_text": False},
            },
        }
        if html:
            body["content"].append({"type": "text/html", "value": html})
        if self._reply_to:
            body["reply_to"] = {"email": self._reply_to}
        if sheet.is_marketing:
            # RFC 8058: the mailbox's own button; it posts this to the address in List-Unsubscribe.
            body["headers"] = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
        return Request(f"{self._url}/v3/mail/send", self._headers, orjson.dumps(body), Call(tuple(letters)))

    def _write_person(self, letter: Letter, gaps: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        person: dict[str, Any] = {
            "to": [{"email": letter.address}],
            "custom_args": {
                "retention_message": str(letter.message_id),
                "retention_batch": str(letter.batch_id),
                "retention_mode": letter.mode,
            },
        }
        if letter.sheet.is_own and gaps:
            filled = (letter.subject, letter.text, letter.html)
            person["substitutions"] = {name: value or "" for (name, _), value in zip(gaps, filled, strict=True)}
        elif gaps:
            values = letter.values
            person["substitutions"] = {
                name: in_html(values[gap[0]]) if gap[1] else values[gap[0]] for name, gap in gaps
            }
        if letter.sheet.is_marketing:
            token = self._signer.sign(UNSUBSCRIBE, letter.message_id)
            person["headers"] = {"List-Unsubscribe": f"<{self._public_url}/u/{token}>"}
        return person

    def read(self, answer: Answer, call: Call) -> Reading:
        """202 took everybody; 400 nobody, because of somebody; 401, 403 and what SendGrid never says are about the account."""
        status, conn_id = answer.status, self.account.partition(":")[2]
        if status == 202:
            return Reading("accepted", answer.headers.get("x-message-id"))
        if status in GATEWAY:
            return Reading("unknown", reason=f"sendgrid {status}")
        if status in LATER or status >= 500:
            return Reading("later", reason=f"sendgrid {status}")
        stranger = (
            f"{name_host(self._url)} does not answer like SendGrid ({status}). Put right the host of the Connection "
            f"{conn_id}, then clear the task."
        )
        if 200 <= status < 300:
            return Reading("unknown", reason=f"sendgrid {status}", ends=stranger)
        if 300 <= status < 400 or status in (404, 405, 410):
            raise AccountRefused(stranger)
        if status in (401, 403):
            raise AccountRefused(
                f"SendGrid refuses the account ({status}). Put right the password (API key) and the verified sender of "
                f"the Connection {conn_id}, then clear the task."
            )
        if 400 <= status < 500:
            fault = _find_fault(answer.body)
            if status == 400 and fault and not fault.startswith("personalizations"):
                raise AccountRefused(
                    f'SendGrid refuses what is the same in every letter ("{fault}"). Put right the Connection '
                    f"{conn_id} or the template, then clear the task."
                )
            is_address = status == 400 and fault is not None and ".to" in fault
            return Reading(
                "split",
                reason=f"invalid {status}",
                suppress="invalid" if is_address else None,
                is_unexplained=status != 413 and fault is None,
            )
        return Reading("unknown", reason=f"sendgrid {status}")

    def look_up(self, messages: Sequence[Sent]) -> dict[int, Receipt | None]:
        """By the Email Activity API, where the account has it: certain of what it finds, silent of the rest."""
        found: dict[int, Receipt | None] = {}
        self.trouble = None
        by_batch: dict[int, dict[str, Sent]] = defaultdict(dict)
        for it in messages:
            by_batch[it.batch_id][it.address.lower()] = it  # nobody is twice in a batch
        for batch_id, people in by_batch.items():
            query = quote(f"(unique_args['retention_batch']=\"{batch_id}\")", safe="")
            url = f"{self._url}/v3/messages?limit={MAX_PEOPLE}&query={query}"
            answer = self.client.fetch(Request(url, self._headers, method="GET"))
            if answer.status != 200:
                self.note_trouble(answer)
                break  # not part of this account's plan, or too many questions: its events have to tell
            for row in _load(answer.body).get("messages") or []:
                it = people.get(str(row.get("to_email")).lower())
                if it and row.get("msg_id"):
                    found[it.message_id] = Receipt(it.message_id, "accepted", str(row["msg_id"]).partition(".")[0])
        return found

    def check(self) -> str:
        """Which rights the key has."""
        answer = self.client.fetch(Request(f"{self._url}/v3/scopes", self._headers, method="GET"))
        if answer.status != 200:
            if answer.status in (401, 403):
                raise AccountRefused(f"SendGrid refuses the key ({answer.status}).")
            raise RetryLater(f"SendGrid did not answer as expected ({answer.status or answer.error}).")
        if "mail.send" not in (_load(answer.body).get("scopes") or []):
            raise AccountRefused("SendGrid knows the key, but it may not send: give it the scope mail.send.")
        return f"SendGrid knows the key; it may send. Sender: {self._from_email}"


def _is_email(text: Any) -> bool:
    try:
        validate_email(text, check_deliverability=False, allow_smtputf8=False)
    except (EmailNotValidError, TypeError, AttributeError):
        return False
    return True


def _fits(characters: int, letter: Letter, room: int) -> bool:
    """Whether the values stay below SendGrid's limit in bytes; counted in full only where it is near."""
    if characters * 6 <= room:
        return True
    sheet = letter.sheet
    if sheet.is_own:
        return sum(len((value or "").encode()) for value in (letter.subject, letter.text, letter.html)) <= room
    values = [in_html(letter.values[n]) if is_html else letter.values[n] for n, is_html in sheet.gaps()]
    return sum(len(value.encode()) for value in values) <= room


def _cut(letters: list[Letter]) -> list[list[Letter]]:
    """Parts of at most 1,000 people and well below the limit of a body."""
    most = MAX_PEOPLE
    if letters[0].sheet.is_own:
        most = min(MAX_PEOPLE, MAX_BODY_BYTES // MAX_FILLED_BYTES)
    return [letters[at : at + most] for at in range(0, len(letters), most)]


def _find_fault(body: bytes) -> str | None:
    """Which field a 400 is about, e.g. personalizations.3.to.0.email."""
    errors = _load(body).get("errors")
    field = errors[0].get("field") if isinstance(errors, list) and errors and isinstance(errors[0], dict) else None
    return field if isinstance(field, str) else None


def _load(body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}
