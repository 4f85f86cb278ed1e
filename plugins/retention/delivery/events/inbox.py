"""The inbox: verified requests, byte for byte, on disk before they are answered. Understands nothing of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from sqlalchemy import Connection, text

from retention.store.queries import run
from retention.store.tables import inbox


class Arrival(NamedTuple):
    """One request whose signature was right. `message_id`: whom a signed callback address is about."""

    source: Literal["sendgrid", "twilio_status", "twilio_message", "shop"]
    body: bytes
    message_id: int | None = None

    def __repr__(self) -> str:  # its body is people's data
        return f"<Arrival from {self.source}, {len(self.body)} bytes>"


class Standing(NamedTuple):
    """What waits to be understood, since when, how much of it failed before; and what was odd, by source and reason."""

    waiting: int
    failing: int
    oldest: datetime | None
    odd: list[dict]


def store_arrivals(conn: Connection, arrivals: Sequence[Arrival], now: datetime) -> None:
    """Keep these requests. Once the transaction is committed they may be answered."""
    # Whatever the server's default: an answer promises that nothing is lost.
    conn.execute(text("set local synchronous_commit = on"))
    conn.execute(inbox.insert(), [{**it._asdict(), "received_at": now} for it in arrivals])


def look_at_inbox(conn: Connection, *, since: datetime) -> Standing:
    """How things stand; oddities recorded since then."""
    waiting, failing, oldest = run(conn, "events/count_waiting").one()
    odd = [dict(row) for row in run(conn, "events/count_odd", since=since).mappings()]
    return Standing(waiting, failing, oldest, odd)
