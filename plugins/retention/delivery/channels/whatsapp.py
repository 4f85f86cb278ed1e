"""WhatsApp by Twilio: the API of SMS, with `whatsapp:` before the numbers. Source: Twilio's OpenAPI document, api v2010.

Only what WhatsApp approved goes out: outside the 24 hours after a customer's last own message nothing else may, and this
does not look whether she wrote. An approved content is named by the template (content_sid), and filled by its variables.
"""

from __future__ import annotations

from urllib.parse import quote_plus

import orjson

from retention.delivery.accounts import Fields
from retention.delivery.channels.base import Call, HttpProvider, Letter, Reading, Receipt
from retention.delivery.channels.twilio import TwilioProvider
from retention.delivery.http import Answer
from retention.errors import AccountRefused

EXTRA = ("account_sid", "senders", "per_second", "auth_token")

CONTENT = frozenset((21654, 21655))
"""Codes for content that Twilio does not know: every other message of the template would hear the same."""


class WhatsAppProvider(TwilioProvider):
    """Carries WhatsApp. Senders are the numbers that WhatsApp knows as the company's, or messaging services."""

    prefix = "whatsapp:"

    def _read_limits(self, fields: Fields) -> None:
        self.per_second = fields.take_number("per_second", 80.0, at_least=0.01)
        for key in ("segments_per_day", "max_segments"):  # Airflow has one form for both channels
            if fields.take(key) is not None:
                fields.refuse(f'extra has "{key}".', "WhatsApp has no segments: delete it.")

    @staticmethod
    def known() -> tuple[str, ...]:
        """See TwilioProvider."""
        return EXTRA

    def _write_words(self, letter: Letter) -> tuple[str, int] | Receipt:
        variables = letter.variables
        if not letter.sheet.content_sid:
            return Receipt(letter.message_id, "refused", reason="no_approved_content")
        empty = next((number for number, value in variables.items() if not value.strip()), None)
        if empty:
            return Receipt(letter.message_id, "refused", reason=f"empty_variable {empty}")
        form = f"ContentSid={letter.sheet.content_sid}"
        if variables:
            form += f"&ContentVariables={quote_plus(orjson.dumps(variables).decode())}"
        return form, 1

    def read(self, answer: Answer, call: Call) -> Reading:
        """As for SMS; content that is unknown is a mistake of the template's."""
        reading = super().read(answer, call)
        code = (reading.reason or "").rpartition(" ")[2]
        if reading.result == "refused" and code.isdecimal() and int(code) in CONTENT:
            raise AccountRefused(
                f"Twilio does not know the content {call.letters[0].sheet.content_sid} ({code}). Put right content_sid in "
                "the template, or approve it for this account, then clear the task."
            )
        return reading

    def make_receipt(self, letter: Letter, reading: Reading, call: Call) -> Receipt:
        """Without segments."""
        return HttpProvider.make_receipt(self, letter, reading, call)
