"""Preferences: on which channel and at which hours somebody answers, and the shop's rates that this is drawn towards."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)

from retention.store.tables.columns import instant, metadata, one_of

preference_runs = Table(
    "preference_runs",
    metadata,
    Column("as_of", instant("as_of").type, primary_key=True),
    instant("known_at"),
    Column("zone", Text, nullable=False),
    Column("strength", Double, nullable=False),
    Column("look_back_s", BigInteger, nullable=False),
    Column("slot_hours", SmallInteger, nullable=False),
    Column("customers", Integer, nullable=False),
    CheckConstraint("strength > 0 and slot_hours between 1 and 24", name="possible"),
    comment="When preferences were worked out, by which rules, and how many customers' changed.",
)

preference_rates = Table(
    "preference_rates",
    metadata,
    Column("as_of", instant("as_of").type, ForeignKey("preference_runs.as_of", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("option", Text, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("responses", BigInteger, nullable=False),
    Column("rate", Double, nullable=False),
    PrimaryKeyConstraint("as_of", "kind", "option"),
    one_of("kind", ("channel", "hour")),
    comment="What share of its messages the whole shop answered, by channel and by slot of the day (its first hour).",
)

customer_preferences = Table(
    "customer_preferences",
    metadata,
    Column("customer_id", Text, nullable=False),
    instant("as_of"),
    Column("channel", Text),
    Column("channel_sent", Integer),
    Column("channel_responses", Integer),
    Column("hour", SmallInteger),
    Column("hour_sent", Integer),
    Column("hour_responses", Integer),
    PrimaryKeyConstraint("customer_id", "as_of"),
    comment="The channel and the slot of the day somebody answers best in, with what they rest on, at the instants when that "
    "changed; append-only. Without a channel: has answered nothing any more.",
)
