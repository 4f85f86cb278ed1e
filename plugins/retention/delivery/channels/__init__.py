"""The registry: which channels there are, how large a batch of each may be, and who carries them.

A provider is one module beside this file and one line in PROVIDERS.
"""

from __future__ import annotations

from retention.delivery.channels.base import HttpProvider, Provider
from retention.delivery.channels.outbox import OutboxProvider
from retention.delivery.channels.sendgrid import SendGridProvider
from retention.delivery.channels.twilio import TwilioProvider
from retention.delivery.channels.webhook import MAX_MESSAGES, WebhookProvider
from retention.delivery.channels.whatsapp import WhatsAppProvider

BATCH_SIZES = {"email": 1000, "sms": 50, "whatsapp": 50, "webhook": MAX_MESSAGES}
"""Messages a batch: one request for e-mail (1,000) and webhook; for SMS and WhatsApp so few that at most 50 are in doubt
after a kill."""

PROVIDERS: dict[str, dict[str, type[HttpProvider]]] = {
    "email": {"sendgrid": SendGridProvider},
    "sms": {"twilio": TwilioProvider},
    "whatsapp": {"twilio": WhatsAppProvider},
    "webhook": {"webhook": WebhookProvider},
}
"""Who may carry a channel, by the type of its Connection. The outbox carries every channel."""

__all__ = ["BATCH_SIZES", "PROVIDERS", "HttpProvider", "OutboxProvider", "Provider"]
