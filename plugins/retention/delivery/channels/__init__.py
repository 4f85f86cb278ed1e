"""The registry: which channels there are, how large a batch of each may be, and who carries them.

A provider is one module beside this file and one line in PROVIDERS.
"""

from __future__ import annotations

from retention.delivery.channels.base import Provider
from retention.delivery.channels.outbox import OutboxProvider

BATCH_SIZES = {"email": 1000, "sms": 50}
"""Messages a batch: one request of 1,000 for e-mail; for SMS so few that at most 50 are in doubt after a kill."""

PROVIDERS: dict[str, type[Provider]] = {"outbox": OutboxProvider}

__all__ = ["BATCH_SIZES", "PROVIDERS", "Provider", "OutboxProvider"]
