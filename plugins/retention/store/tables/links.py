"""Links: the addresses that signed links of messages lead to."""

from __future__ import annotations

from sqlalchemy import Column, Table, Text

from retention.store.tables.columns import identity, metadata

links = Table(
    "links",
    metadata,
    identity("link_id"),
    # Stored once, whatever it stands in: a link of a message says which message and which address.
    Column("url", Text, nullable=False, unique=True),
    comment="Where links of messages lead. {coupon.code} in it stands for the customer's own code.",
)
