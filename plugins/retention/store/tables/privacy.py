"""What stays of people who were erased, and of months that were dropped: no personal data, by construction."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Date, Index, LargeBinary, Table, Text, UniqueConstraint

from retention.store.tables.columns import identity, instant, metadata, one_of
from retention.store.tables.decided import MODES

erasures = Table(
    "erasures",
    metadata,
    identity("erasure_id"),
    # A random word: the digests of one person have the same one. It stands in no other table.
    Column("person", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    instant("erased_at"),
    UniqueConstraint("kind", "digest"),
    Index("ix_erasures_person", "person"),
    one_of("kind", ("key", "customer", "email", "phone", "order")),
    comment="Who was erased, as keyed digests of their ids and addresses: a load refuses what has one. The row of kind key "
    "tells whether the key in use is the one they were made with. Deleted when somebody is let in again.",
)

month_counts = Table(
    "month_counts",
    metadata,
    identity("count_id"),
    Column("month", Date, nullable=False),
    Column("mode", Text, nullable=False),
    Column("journey", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("reason", Text),
    Column("messages", BigInteger, nullable=False),
    one_of("mode", MODES),
    Index("ix_month_counts_month", "month"),
    comment="What is left of a month of messages that was dropped: how many were decided (send, skip) and how many had each "
    "kind of outcome (of people, not of machines).",
)
