"""Tells machines from people by what they ask: scanners of mail, previews of links, prefetching browsers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from threading import Lock

from retention.delivery.events.agents import is_machine_agent
from retention.delivery.events.outcomes import NO_HAND_S


def is_machine(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a request for a link says of itself that no person made it."""
    purpose = " ".join(headers.get(name, "") for name in ("purpose", "sec-purpose", "x-purpose", "x-moz")).lower()
    agent = headers.get("user-agent", "")
    # A browser always says what it is.
    return method == "HEAD" or "prefetch" in purpose or "preview" in purpose or not agent or is_machine_agent(agent)


class Visits:
    """Which pages of a message were opened within the last seconds, in this process's memory: looking leaves no trace."""

    def __init__(self, most: int = 10_000):
        self._most, self._lock = most, Lock()
        self._seen: OrderedDict[int, datetime] = OrderedDict()

    def note(self, message_id: int, now: datetime) -> None:
        """A page of this message was opened."""
        with self._lock:
            self._seen[message_id] = now
            self._seen.move_to_end(message_id)
            if len(self._seen) > self._most:
                self._seen.popitem(last=False)

    def has(self, message_id: int, now: datetime) -> bool:
        """Whether one was opened a moment ago."""
        with self._lock:
            seen = self._seen.get(message_id)
        return seen is not None and timedelta(0) <= now - seen <= NO_HAND_S
