"""SMS by Twilio: POST Messages.json, one message a request. Source: Twilio's OpenAPI document, api v2010.

The StatusCallback of each message carries its signed id: what Twilio says of it later finds its way back.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote_plus, urlencode

import orjson
import phonenumbers

from retention.delivery.accounts import Account, Fields
from retention.delivery.channels.base import Call, HttpProvider, Letter, Ours, Reading, Receipt, Sent
from retention.delivery.http import Answer, Request, name_host
from retention.delivery.segments import count_segments
from retention.delivery.tokens import STATUS
from retention.errors import AccountRefused, RetryLater

BASE_URL = "https://api.twilio.com"

DEAD = {
    21211: "invalid", 21217: "invalid", 21219: "invalid", 21265: "invalid", 21421: "invalid", 21614: "not_mobile",
    21610: "opted_out", 21216: "blocked", 63003: "invalid", 63024: "invalid",
}  # fmt: skip
"""Twilio's codes for a number that is not to be used again, and our word for it."""

OURS = frozenset((20003, 20404, 20005, 21212, 21603, 21606, 21659, 21660, 21661, 21701, 21703, 21704, 63007))
"""Codes about the account or the sender: every other message would hear the same."""

BUSY = frozenset((14107, 20429, 21611, 63018, 63038))
"""Codes that say: too much at once."""

REGION = frozenset((21408, 21612, 21613))
"""Codes for a place that the sender may not or can't reach: not the number's fault."""

GATEWAY = frozenset((502, 504))
"""Statuses of a gateway that did not hear from the provider behind it: it may have acted."""

BEFORE, AFTER = timedelta(seconds=5), timedelta(minutes=15)
"""How long before and after a hand-over a message can have been created that is the one asked about."""

_SENDER = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}|MG[0-9a-fA-F]{32}|(?!MG)(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9 ]{1,11}")
"""A number, a short code, a messaging service, or a name of up to 11 letters and digits."""

EXTRA = ("account_sid", "senders", "per_second", "segments_per_day", "max_segments", "auth_token")


class TwilioProvider(HttpProvider):
    """Carries SMS. Where Twilio reports to begins with our public address."""

    name = "twilio"
    at_once = 50
    timeout_s = 30.0
    prefix = ""
    """What stands before a number, by Twilio's name of the channel."""

    def __init__(self, account: Account, ours: Ours):
        fields = Fields(account)
        fields.check_plain()
        login = fields.require("login", account.login, "It is the account SID (AC...) or an API key's SID (SK...).")
        secret = fields.require("password", account.password, "It is the auth token or the API key's secret.")
        sid = fields.take("account_sid") or login
        if not str(sid).startswith("AC"):
            fields.refuse("has no account.", 'With an API key as login, extra needs "account_sid": "AC...".')
        self._senders = _read_senders(fields)
        self._read_limits(fields)
        fields.take("auth_token")  # what its events are checked by, on their way in: not ours to use
        fields.finish(self.known())
        super().__init__()
        self._resource = f"{(account.base_url or BASE_URL).rstrip('/')}/2010-04-01/Accounts/{sid}"
        basic = b64encode(f"{login}:{secret}".encode()).decode()
        self._headers = (f"Authorization: Basic {basic}", "Content-Type: application/x-www-form-urlencoded")
        self._signer = ours.signer
        self._callback = quote_plus(f"{ours.public_url.rstrip('/')}/events/twilio/")
        self.account = f"twilio:{account.conn_id}"

    def _read_limits(self, fields: Fields) -> None:
        self.per_second = fields.take_number("per_second", 100.0, at_least=0.01)
        self.segments_per_day = fields.take_number("segments_per_day", None, at_least=1)
        self.max_segments = int(fields.take_number("max_segments", 6, at_least=1) or 0)

    @staticmethod
    def known() -> tuple[str, ...]:
        """The keys its extra may have."""
        return EXTRA

    def build(self, letters: Sequence[Letter]) -> list[Request | Receipt]:
        """One request a letter; a receipt for one that no sender may carry or that can't go out as it is."""
        return [self._write(letter) for letter in letters]

    def _write(self, letter: Letter) -> Request | Receipt:
        words = self._write_words(letter)
        if isinstance(words, Receipt):
            return words
        form, cost = words
        sender = self._find_sender(letter.address)
        if sender is None:
            return Receipt(letter.message_id, "refused", reason="no_sender")
        token = self._signer.sign(STATUS, letter.message_id)
        # Written by hand, for speed: all but numbers and words is made of safe characters.
        if sender.startswith("MG"):
            came_from = f"MessagingServiceSid={sender}"
        else:
            came_from = f"From={quote_plus(self.prefix + sender.removeprefix(self.prefix))}"
        body = (
            f"To={quote_plus(self.prefix + letter.address)}&{came_from}&StatusCallback={self._callback}{token}&{form}"
        ).encode()
        return Request(f"{self._resource}/Messages.json", self._headers, body, Call((letter,), cost=cost))

    def _write_words(self, letter: Letter) -> tuple[str, int] | Receipt:
        """What the message says, as a part of the form, and its cost; or why it can't go out."""
        text = letter.text
        _, segments = count_segments(text)
        if self.max_segments and segments > self.max_segments:
            return Receipt(letter.message_id, "refused", reason=f"too_long {segments}")
        return f"Body={quote_plus(text)}", segments

    def _find_sender(self, number: str) -> str | None:
        if set(self._senders) == {"*"}:
            return self._senders["*"]
        try:
            country = phonenumbers.region_code_for_number(phonenumbers.parse(number))
        except phonenumbers.NumberParseException:
            country = None
        return self._senders.get(country or "*") or self._senders.get("*")

    def read(self, answer: Answer, call: Call) -> Reading:
        """201 took it; a 4xx with a code is about this number, or about the account."""
        said, status, conn_id = _load(answer.body), answer.status, self.account.partition(":")[2]
        stranger = (
            f"{name_host(self._resource)} does not answer like Twilio ({status}). Put right host and account of the "
            f"Connection {conn_id}, then clear the task."
        )
        if 200 <= status < 300:
            if said.get("sid"):
                return Reading("accepted", str(said["sid"]))
            return Reading("unknown", reason="twilio no sid", ends=stranger)
        code = said.get("code") if isinstance(said.get("code"), int) else None
        if status in GATEWAY:
            return Reading("unknown", reason=f"twilio {status}")
        if status in (408, 425, 429) or status >= 500 or code in BUSY:
            return Reading("later", reason=f"twilio {code or status}")
        if status in (401, 403, 404) or code in OURS:
            raise AccountRefused(
                f"Twilio refuses the account or its sender ({code or status}). Put right the Connection "
                f"{conn_id}, then clear the task. https://www.twilio.com/docs/errors/{code or 20003}"
            )
        if 300 <= status < 400 or status in (405, 410):
            raise AccountRefused(stranger)
        if status < 400:
            return Reading("unknown", reason=f"twilio {status}")
        if code is None:
            return Reading("split", reason=f"refused {status}", is_unexplained=True)
        dead = DEAD.get(code or 0)
        word = dead or ("region" if code in REGION else "refused")
        return Reading("refused", reason=f"{word} {code or answer.status}", suppress=dead)

    def make_receipt(self, letter: Letter, reading: Reading, call: Call) -> Receipt:
        """With the segments that are paid."""
        segments = call.cost if reading.result == "accepted" else None
        return Receipt(
            letter.message_id, reading.result, reading.provider_id, reading.reason, reading.suppress, segments
        )

    def look_up(self, messages: Sequence[Sent]) -> dict[int, Receipt | None]:
        """By the list of what went to the number since: certain of a single message that no other of ours can be."""
        sids: dict[int, str] = {}
        claims: Counter[str] = Counter()
        self.trouble = None

        def hear(request: Request, answer: Answer) -> tuple[()]:
            if answer.status != 200:
                self.note_trouble(answer)
                return ()
            it: Sent = request.what
            said = _load(answer.body)
            listed = [row for row in said.get("messages") or () if isinstance(row, dict)]
            ours = [row for row in listed if self._can_be(it, row)]
            # A page that ends within the span may hide others on the next one.
            is_whole = not said.get("next_page_uri") or not listed or not _is_within(listed[-1], it.sending_at)
            claims.update({str(row["sid"]) for row in ours})
            if len(ours) == 1 and is_whole:
                sids[it.message_id] = str(ours[0]["sid"])
            return ()

        self.client.exchange([self._ask_about(it) for it in messages], hear, may_begin=lambda: not self.trouble)
        return {
            message_id: Receipt(message_id, "accepted", sid) for message_id, sid in sids.items() if claims[sid] == 1
        }

    def _can_be(self, it: Sent, row: dict[str, Any]) -> bool:
        sid, senders = row.get("sid"), {self.prefix + to.removeprefix(self.prefix) for to in self._senders.values()}
        is_ours = row.get("messaging_service_sid") in self._senders.values() or row.get("from") in senders
        return bool(sid) and sid not in it.taken_ids and is_ours and _is_within(row, it.sending_at)

    def _ask_about(self, it: Sent) -> Request:
        since = datetime.fromtimestamp(it.sending_at, UTC) - BEFORE
        query = urlencode({"To": self.prefix + it.address, "DateSent>": since.strftime("%Y-%m-%d"), "PageSize": 50})
        url = f"{self._resource}/Messages.json?{query}"
        return Request(url, self._headers, method="GET", what=it)

    def check(self) -> str:
        """Whether Twilio knows the account."""
        answer = self.client.fetch(Request(f"{self._resource}.json", self._headers, method="GET"))
        if answer.status != 200:
            if answer.status in (401, 403, 404):
                raise AccountRefused(f"Twilio refuses the account ({answer.status}).")
            raise RetryLater(f"Twilio did not answer as expected ({answer.status or answer.error}).")
        return f"Twilio knows the account; it is {_load(answer.body).get('status', 'there')}."


def _read_senders(fields: Fields) -> dict[str, str]:
    remedy = 'Write {"CN": "MG...", "*": "+15005550006"}: a messaging service or a number by country, * for the rest.'
    senders = fields.take("senders")
    if isinstance(senders, str):  # Airflow's form knows text alone: one for all, or the JSON
        senders = _load(senders.encode()) if senders.lstrip().startswith("{") else {"*": senders.strip()}
    if not isinstance(senders, dict) or not senders:
        fields.refuse('extra has no "senders".', remedy)
        return {}
    for country, sender in senders.items():
        is_country = country == "*" or country in phonenumbers.SUPPORTED_REGIONS
        if not is_country:
            fields.refuse(f'extra "senders" has "{country}" in it.', remedy)
        elif not isinstance(sender, str) or not _SENDER.fullmatch(sender.removeprefix("whatsapp:")):
            fields.refuse(f'extra "senders" has no sender for "{country}".', remedy)
    return dict(senders)


def _is_within(row: dict[str, Any], sending_at: float) -> bool:
    at = datetime.fromtimestamp(sending_at, UTC)
    try:
        return at - BEFORE <= parsedate_to_datetime(str(row.get("date_created"))) <= at + AFTER
    except (TypeError, ValueError):
        return False


def _load(body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}
