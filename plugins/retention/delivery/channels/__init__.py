"""The registry: which channels there are, how large a batch of each may be, and who carries them.

A provider is one module beside this file and one line in PROVIDERS.
"""

from __future__ import annotations

from retention.delivery.channels.base import HttpProvider, Provider
from retention.delivery.channels.outbox import OutboxProvider
from retention.delivery.channels.sendgrid import SendGridProvider
from retention.delivery.channels.twilio import TwilioProvider

BATCH_SIZES = {"email": 1000, "sms": 50}
"""Messages a batch: one request of 1,000 for e-mail; for SMS so few that at most 50 are in doubt after a kill."""

PROVIDERS: dict[str, dict[str, type[HttpProvider]]] = {
    "email": {"sendgrid": SendGridProvider},
    "sms": {"twilio": TwilioProvider},
}
"""Who may carry a channel, by the type of its Connection. The outbox carries every channel."""

__all__ = ["BATCH_SIZES", "PROVIDERS", "HttpProvider", "OutboxProvider", "Provider"]
