"""The stand-in's Twilio: SMS and WhatsApp sent and listed, and the account. Sources: Twilio's OpenAPI document, api v2010, and
its page of test credentials. Keeps nothing itself: that is the book's.
"""

from __future__ import annotations

import re
import secrets
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from retention.bench.stub_book import Book, Sms, Window, read_clock
from retention.bench.stub_reply import JSON, Reply

BAD_SENDERS = {
    "+15005550001": (21212, "The 'From' number +15005550001 is not a valid phone number, shortcode, or alphanumeric sender ID."),
    "+15005550007": (21606, "The 'From' phone number provided is not a valid message-capable Twilio phone number."),
    "+15005550008": (21611, "This 'From' number has exceeded the maximum number of queued messages"),
}  # fmt: skip
BAD_NUMBERS = {
    "+15005550001": (21211, "The 'To' number +15005550001 is not a valid phone number."),
    "+15005550002": (21612, "The 'To' phone number is not currently reachable via SMS"),
    "+15005550003": (21408, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number"),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (21614, "'To' number is not a valid mobile number"),
}  # fmt: skip
MAX_TEXT = 1600
WHATSAPP = "whatsapp:"
BAD_CONTENT = "HX" + "0" * 32
_CONTENT = re.compile("HX[0-9a-fA-F]{32}")
_NOT_ONE_LINE = re.compile(r"[\r\n\t]| {5}")
_NUMBER = re.compile(r"\+[1-9]\d{6,14}")
_ACCOUNT = re.compile(r"AC[0-9a-fA-F]{32}")
_BEYOND_GSM = re.compile(
    "[^@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,\\-./0-9:;<=>?¡A-ZÄÖÑÜ§¿a-zäöñüà\f^{}\\\\\\[~\\]|€]"
)
_TWO_PLACES = re.compile("[\f^{}\\\\\\[~\\]|€]")
_numbers = count(1)
_prefix = secrets.token_hex(8)


def refuse(status: int, code: int, message: str, headers: bytes = b"") -> Reply:
    """Twilio's form of a refusal."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    body = orjson.dumps({"code": code, "message": message, "more_info": more, "status": status})
    return Reply(status, body, JSON + headers)


class Twilio:
    """Answers for Twilio, for an account that owns every number. `rate`: how many SMS are accepted in any second."""

    def __init__(self, book: Book, rate: float | None):
        self._book, self._window = book, Window(rate)

    def send(self, account: str, headers: Mapping[bytes, bytes], body: bytes) -> Reply:
        """Takes one message."""
        fault = _check_account(account, headers)
        if fault:
            return fault
        now = read_clock()
        if not self._window.has_room(now):
            self._book.rate_limited += 1
            return self.say_too_many()
        is_form = headers.get(b"content-type", b"").lower().startswith(b"application/x-www-form-urlencoded")
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)) if is_form else {}
        error = _check(form)
        if error:
            return refuse(400, *error)
        self._window.take(now)
        words = form.get("ContentVariables", "") if "ContentSid" in form else form["Body"]
        it = Sms(
            f"SM{_prefix}{next(_numbers):016x}", account, now, form["To"], form.get("From"),
            form.get("MessagingServiceSid"), words, form.get("StatusCallback"), count_segments(words),
            form.get("ContentSid"),
        )  # fmt: skip
        self._book.accept_sms(it)
        return Reply(201, orjson.dumps(_show(it, "queued")), JSON, is_accepted=True)

    def say_too_many(self) -> Reply:
        return refuse(429, 20429, "Too Many Requests", b"Retry-After: 1\r\n")

    def say_broken(self) -> Reply:
        return refuse(500, 20500, "Internal Server Error")

    def say_too_large(self) -> Reply:
        return refuse(413, 20413, "Payload Too Large")

    def show_account(self, account: str, headers: Mapping[bytes, bytes]) -> Reply:
        fault = _check_account(account, headers)
        return fault or Reply(200, orjson.dumps({"sid": account, "status": "active", "friendly_name": "stub"}), JSON)

    def list_messages(self, account: str, headers: Mapping[bytes, bytes], query: Mapping[str, str]) -> Reply:
        """Newest first, page by page."""
        fault = _check_account(account, headers)
        if fault:
            return fault
        try:
            size, page = int(query.get("PageSize", "50")), int(query.get("Page", "0"))
            spans = [
                (name.removeprefix("DateSent"), *_read_instant(value))
                for name, value in query.items()
                if name in ("DateSent", "DateSent<", "DateSent>")
            ]
        except ValueError:
            return refuse(400, 20001, "Invalid parameter")
        size = min(max(size, 1), 1000)
        found: list[Sms] = []
        for drawer in self._book.drawers:
            for it in reversed(drawer.sms_to.get(query["To"], ()) if "To" in query else drawer.sms):
                is_its = it.account == account and query.get("From") in (None, it.sender)
                if is_its and all(_is_within(it.at, *span) for span in spans):
                    found.append(it)
                if len(found) > (page + 1) * size:
                    break
        return self._write_page(account, query, found, page, size)

    def _write_page(self, account: str, query: Mapping[str, str], found: list[Sms], page: int, size: int) -> Reply:
        path = f"/2010-04-01/Accounts/{account}/Messages.json"
        kept = {name: value for name, value in query.items() if name not in ("Page", "PageSize", "PageToken")}
        shown = found[page * size : (page + 1) * size]

        def write_uri(number: int) -> str:
            token = {"PageToken": f"PA{found[number * size - 1].sid}"} if number else {}
            return f"{path}?{urlencode({**kept, 'PageSize': size, 'Page': number, **token})}"

        listed = {
            "first_page_uri": write_uri(0),
            "next_page_uri": write_uri(page + 1) if len(found) > (page + 1) * size else None,
            "previous_page_uri": write_uri(page - 1) if page and shown else None,
            "page": page,
            "page_size": size,
            "start": page * size,
            "end": page * size + max(len(shown) - 1, 0),
            "uri": f"{path}?{urlencode(query)}",
            "messages": [_show(it, "delivered") for it in shown],
        }
        return Reply(200, orjson.dumps(listed), JSON)


def count_segments(text: str) -> int:
    """The stand-in's own count, so that it proves the engine's: 160 (153) of GSM-7 or 70 (67) of UCS-2."""
    if _BEYOND_GSM.search(text):
        units, whole, part = len(text.encode("utf-16-le")) // 2, 70, 67
    else:
        units, whole, part = len(text) + len(_TWO_PLACES.findall(text)), 160, 153
    return 1 if units <= whole else -(-units // part)


@lru_cache(64)
def _is_login(header: bytes) -> bool:
    kind, _, word = header.partition(b" ")
    try:
        name, _, secret = b64decode(word, validate=True).partition(b":")
    except ValueError:
        return False
    return kind.lower() == b"basic" and bool(name) and bool(secret)


def _check_account(account: str, headers: Mapping[bytes, bytes]) -> Reply | None:
    if not _is_login(headers.get(b"authorization", b"")):
        return refuse(401, 20003, "Authenticate")
    if not _ACCOUNT.fullmatch(account):
        return refuse(404, 20404, f"The requested resource /2010-04-01/Accounts/{account} was not found")
    return None


def _check(form: Mapping[str, str]) -> tuple[int, str] | None:
    to, sender, service = form.get("To"), form.get("From"), form.get("MessagingServiceSid")
    if not to:
        return 21604, "A 'To' phone number is required."
    if not sender and not service:
        return 21603, "A 'From' phone number is required."
    if WHATSAPP in (to[: len(WHATSAPP)], (sender or "")[: len(WHATSAPP)]):
        return _check_whatsapp(form)
    if not form.get("Body"):
        return 21602, "Message body is required."
    if len(form["Body"]) > MAX_TEXT:
        return 21617, f"The concatenated message body exceeds the {MAX_TEXT} character limit"
    if sender in BAD_SENDERS:
        return BAD_SENDERS[sender]
    if to in BAD_NUMBERS:
        return BAD_NUMBERS[to]
    if not _NUMBER.fullmatch(to):
        return 21211, f"The 'To' number {to} is not a valid phone number."
    callback = form.get("StatusCallback")
    if callback and not callback.startswith(("http://", "https://")):
        return 21609, "The 'StatusCallback' URL is not a valid URL."
    return None


def _check_whatsapp(form: Mapping[str, str]) -> tuple[int, str] | None:
    """Nobody wrote to us first here: approved content alone may go."""
    to, sender = form["To"].removeprefix(WHATSAPP), form.get("From")
    if not form["To"].startswith(WHATSAPP) or (sender and not sender.startswith(WHATSAPP)):
        return 63007, "Twilio could not find a Channel with the specified From address"
    if not form.get("ContentSid"):
        return 63016, "Failed to send freeform message because you are outside the allowed window."
    if not _CONTENT.fullmatch(form["ContentSid"]) or form["ContentSid"] == BAD_CONTENT:
        return 21655, "The ContentSid is Invalid"
    try:
        variables = orjson.loads(form.get("ContentVariables", "{}"))
    except orjson.JSONDecodeError:
        variables = None
    values = variables.values() if isinstance(variables, dict) else [None]
    if not all(isinstance(it, str) and it.strip() and not _NOT_ONE_LINE.search(it) for it in values):
        return 21656, "The ContentVariables Parameter is invalid"
    return (
        None if _NUMBER.fullmatch(to) and to not in BAD_NUMBERS else BAD_NUMBERS.get(to, (63024, "Invalid recipient"))
    )


def _read_instant(text: str) -> tuple[float, float]:
    """First and last instant of a day, or of a second."""
    at = datetime.fromisoformat(text)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    start = at.timestamp()
    return start, start + (86_400 if len(text) == 10 else 1)


def _is_within(at: float, sign: str, start: float, end: float) -> bool:
    """Of DateSent: `<` is on or before, `>` on or after, none is on."""
    return (sign == "<" or at >= start) and (sign == ">" or at < end)


@lru_cache(16)
def _write_date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))


def _show(it: Sms, status: str) -> dict[str, Any]:
    date, path = _write_date(int(it.at)), f"/2010-04-01/Accounts/{it.account}/Messages/{it.sid}"
    return {
        "account_sid": it.account,
        "api_version": "2010-04-01",
        "body": it.body,
        "date_created": date,
        "date_sent": None if status == "queued" else date,
        "date_updated": date,
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": it.sender,
        "messaging_service_sid": it.service,
        "num_media": "0",
        "num_segments": str(it.segments),
        "price": None,
        "price_unit": "USD",
        "sid": it.sid,
        "status": status,
        "subresource_uris": {"media": f"{path}/Media.json"},
        "to": it.to,
        "uri": f"{path}.json",
    }
