"""The stand-in's SendGrid: POST /v3/mail/send, GET /v3/scopes, GET /v3/messages. Sources: SendGrid's OpenAPI documents;
the wording of refusals as users of its libraries report them. Keeps nothing itself: that is the book's.
"""

from __future__ import annotations

import gzip
import re
import secrets
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from retention.bench.stub_book import Batch, Book, Window, read_clock
from retention.bench.stub_reply import JSON, Reply

MAX_PEOPLE = 1000
MAX_BYTES = 10_000
"""Of the substitutions of one personalization, names included, and of its custom arguments."""

_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]"
)
_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message."
_CONDITION = re.compile(
    r"\s*\(*\s*(?:unique_args\['(?P<arg>[^']+)'\]|(?P<field>to_email|from_email|subject|status|msg_id))"
    r'\s*=\s*"(?P<value>[^"]*)"\s*\)*\s*(?P<joint>AND\b|$)',
    re.IGNORECASE,
)


def refuse(status: int, *errors: tuple[str, str | None], headers: bytes = b"") -> Reply:
    """SendGrid's form of a refusal; each error is (message, field)."""
    rows = [{"message": text, "field": field, "help": _HELP + field if field else None} for text, field in errors]
    return Reply(status, orjson.dumps({"errors": rows}), JSON + headers)


class SendGrid:
    """Answers for SendGrid. `rate` is how many requests are accepted in any second."""

    def __init__(self, book: Book, rate: float | None):
        self._book, self._window = book, Window(rate)

    def send(self, headers: Mapping[bytes, bytes], body: bytes) -> Reply:
        """Takes everybody of the request, or nobody."""
        if not is_known(headers):
            return _UNKNOWN
        now = read_clock()
        if not self._window.has_room(now):
            self._book.rate_limited += 1
            return self.say_too_many()
        if not headers.get(b"content-type", b"").lower().startswith(b"application/json"):
            return refuse(415, ("Content-Type should be application/json.", None))
        try:
            data = orjson.loads(gzip.decompress(body) if headers.get(b"content-encoding") == b"gzip" else body)
        except (orjson.JSONDecodeError, OSError, EOFError, zlib.error):
            return refuse(400, ("Bad Request", None))
        if not isinstance(data, dict):
            return refuse(400, ("Bad Request", None))
        try:
            errors = [*_check_letter(data), *_check_people(data)]
        except (TypeError, AttributeError, KeyError, IndexError):
            return refuse(400, ("Invalid type.", None))
        if errors:
            return refuse(400, *errors)
        self._window.take(now)
        batch = Batch(
            secrets.token_urlsafe(16), now, data["from"]["email"], data.get("subject") or "", _list_people(data)
        )
        self._book.accept_emails(batch)
        return Reply(202, b"", b"X-Message-Id: %b\r\n" % batch.id.encode(), is_accepted=True)

    def say_too_many(self) -> Reply:
        return refuse(429, ("too many requests", None), headers=b"Retry-After: 1\r\n")

    def say_broken(self) -> Reply:
        return refuse(500, ("Internal Server Error", None))

    def say_too_large(self) -> Reply:
        return refuse(413, ("Payload Too Large", None))

    def list_scopes(self, headers: Mapping[bytes, bytes]) -> Reply:
        return Reply(200, b'{"scopes":["mail.send"]}', JSON) if is_known(headers) else _UNKNOWN

    def list_messages(self, headers: Mapping[bytes, bytes], query: Mapping[str, str]) -> Reply:
        """The Email Activity API. An id is X-Message-Id, a dot, and more, as it is at SendGrid."""
        if not is_known(headers):
            return _UNKNOWN
        try:
            wanted, limit = _read_query(query.get("query", "")), int(query.get("limit", "10"))
        except ValueError as fault:
            return refuse(400, (f"invalid syntax: {fault}", None))
        if not 1 <= limit <= 1000:
            return refuse(400, ("invalid limit: must be between 1 and 1000", None))
        found: list[dict[str, Any]] = []
        indexed = [(arg or field, value) for arg, field, value in wanted if arg or field == "to_email"]
        for drawer in self._book.drawers:
            for batch, n in drawer.find_emails(indexed):
                row, args = _show(batch, n), batch.people[n][1] or {}
                if all((args.get(arg) if arg else row[field]) == value for arg, field, value in wanted):
                    found.append(row)
                if len(found) >= limit:
                    break
            if len(found) >= limit:
                break
        return Reply(200, orjson.dumps({"messages": found}), JSON)


def is_known(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a key was sent, whichever."""
    kind, _, key = headers.get(b"authorization", b"").partition(b" ")
    return kind.lower() == b"bearer" and bool(key.strip())


_UNKNOWN = refuse(401, ("The provided authorization grant is invalid, expired, or revoked", None))


def _check_letter(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    errors: list[tuple[str, str]] = []
    sender = (data.get("from") or {}).get("email")
    if not sender:
        errors.append(("The from object must be provided for every email send.", "from.email"))
    elif not _ADDRESS.fullmatch(sender):
        errors.append(("The from email does not contain a valid address.", "from.email"))
    if data.get("template_id"):
        return errors
    if not data.get("subject") and not all(it.get("subject") for it in data.get("personalizations") or [{}]):
        errors.append(("The subject is required.", "subject"))
    content = data.get("content")
    if not content:
        errors.append(("Unless a valid template_id is provided, the content parameter is required.", "content"))
    for n, part in enumerate(content or ()):
        if not isinstance(part["value"], str) or not part["value"]:
            errors.append(
                ("The content value must be a string at least one character in length.", f"content.{n}.value")
            )
    order = [part["type"] for part in content or ()]
    if "text/plain" in order[1:]:
        errors.append(
            ("If present, text/plain must be first, followed by text/html, then any other content.", "content")
        )
    return errors


def _check_people(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    people = data.get("personalizations")
    where = "personalizations"
    if not people:
        return [("The personalizations field is required and must have at least one personalization.", where)]
    if len(people) > MAX_PEOPLE:
        return [(f"The personalizations field may have at most {MAX_PEOPLE} personalizations.", where)]
    errors: list[tuple[str, str]] = []
    shared_args, total = data.get("custom_args") or {}, 0
    is_valid = _ADDRESS.fullmatch
    for n, person in enumerate(people):
        if not person.get("to"):
            errors.append(("The to array is required for all personalization objects.", f"{where}.{n}.to"))
        seen = set()
        for kind in ("to", "cc", "bcc"):
            for m, it in enumerate(person.get(kind) or ()):
                address, total = it.get("email"), total + 1
                if not address or not is_valid(address) or len(address) > 254 or "refuse" in address:
                    errors.append(("Does not contain a valid address.", f"{where}.{n}.{kind}.{m}.email"))
                elif address in seen:
                    text = "Each email address in the personalization block should be unique between to, cc, and bcc."
                    errors.append((text, f"{where}.{n}"))
                seen.add(address)
        if _is_too_long(person.get("substitutions")):
            text = f"Substitutions may not exceed {MAX_BYTES} bytes per personalization."
            errors.append((text, f"{where}.{n}.substitutions"))
        args = person.get("custom_args")
        if _is_too_long({**shared_args, **args} if shared_args and args else args or shared_args):
            errors.append((f"Custom args may not exceed {MAX_BYTES} bytes.", f"{where}.{n}.custom_args"))
    if total > MAX_PEOPLE:
        errors.append((f"The total number of recipients must be no more than {MAX_PEOPLE}.", where))
    return errors


def _is_too_long(pairs: Mapping[str, str] | None) -> bool:
    """Raises TypeError for a value that is no string."""
    return bool(pairs) and len(("".join(pairs) + "".join(pairs.values())).encode()) > MAX_BYTES


def _list_people(data: Mapping[str, Any]) -> list[tuple[str, dict[str, str] | None]]:
    shared = data.get("custom_args")
    found = []
    for person in data["personalizations"]:
        args = person.get("custom_args")
        args = {**shared, **(args or {})} if shared else args
        found += [(it["email"], args) for it in person["to"]]
        if "cc" in person or "bcc" in person:
            found += [(it["email"], args) for kind in ("cc", "bcc") for it in person.get(kind) or ()]
    return found


def _read_query(text: str) -> list[tuple[str | None, str | None, str]]:
    """Conditions as (argument, field, value), one of the first two. Raises ValueError for what is not understood."""
    found, at, joint = [], 0, "AND"
    while joint:
        match = _CONDITION.match(text, at)
        if not match:
            raise ValueError(f"'{text[at : at + 40]}' is not understood")
        at, joint = match.end(), match["joint"]
        found.append((match["arg"], match["field"] and match["field"].lower(), match["value"]))
    return found


def _show(batch: Batch, n: int) -> dict[str, Any]:
    at = datetime.fromtimestamp(batch.at, UTC)
    return {
        "from_email": batch.sender,
        "msg_id": f"{batch.id}.recvd-stub-{n}",
        "subject": batch.subject,
        "to_email": batch.people[n][0],
        "status": "delivered",
        "opens_count": 0,
        "clicks_count": 0,
        "last_event_time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
