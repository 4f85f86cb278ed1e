"""What comes back from outside, as it came: requests of providers and shops, events that led nowhere, people's replies."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from retention.store.tables.columns import identity, instant, metadata, one_of

SOURCES = ("sendgrid", "twilio_status", "twilio_message", "shop")

inbox = Table(
    "inbox",
    metadata,
    identity("inbox_id"),
    Column("source", Text, nullable=False),
    # Whom a signed callback address is about.
    Column("message_id", BigInteger),
    Column("body", LargeBinary, nullable=False),
    instant("received_at"),
    instant("interpreted_at", nullable=True),
    instant("retry_at", nullable=True),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("error", Text),
    Column("events", Integer),
    Column("fresh", Integer),
    Column("odd", Integer),
    one_of("source", SOURCES),
    Index("ix_inbox_waiting", "inbox_id", postgresql_where=text("interpreted_at is null")),
    Index("ix_inbox_received_at", "received_at"),
    comment="Verified requests, byte for byte, committed before they are answered and understood afterwards: events in it, "
    "those that were new (fresh), and those kept in odd_events. Bodies hold addresses and texts.",
)

odd_events = Table(
    "odd_events",
    metadata,
    identity("odd_id"),
    Column("source", Text, nullable=False),
    Column("event_key", BigInteger, nullable=False),
    Column("inbox_id", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("word", Text),
    Column("reason", Text, nullable=False),
    Column("message_id", BigInteger),
    instant("recorded_at"),
    # However often it is repeated, an event counts once.
    UniqueConstraint("source", "event_key"),
    Index("ix_odd_events_inbox_id", "inbox_id"),
    one_of("source", SOURCES),
    comment="Events that became nothing, and why: the event is at that position (from 0) of its request in inbox. word is "
    "the sender's own for its kind.",
)

replies = Table(
    "replies",
    metadata,
    identity("reply_id"),
    Column("channel", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("provider_id", Text, nullable=False, unique=True),
    Column("message_id", BigInteger),
    Column("meaning", Text, nullable=False),
    Column("text", Text, nullable=False),
    instant("occurred_at"),
    instant("recorded_at"),
    one_of("meaning", ("stop", "start", "reply")),
    Index("ix_replies_address", "channel", "address", "occurred_at"),
    Index("ix_replies_message_id", "message_id", postgresql_where=text("message_id is not null")),
    comment="What people wrote back, word for word; message_id is the newest message to that address then, if there is one.",
)
