"""Coupons: the codes that people have, those that nobody has yet, and the orders they stand on."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from retention.store.tables.columns import identity, instant, metadata, one_of

COUPON_KINDS = ("percent_off", "amount_off", "gift", "points")
COUPON_STATES = ("reserved", "issued", "redeemed", "expired", "given_back")
VERDICTS = ("counted", "late", "again", "undone")
"""What an order says of a coupon: counted (the first in time), late, again (a further one), undone (refunded, cancelled)."""

coupons = Table(
    "coupons",
    metadata,
    identity("coupon_id"),
    Column("code", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("enrollment_id", BigInteger, ForeignKey("enrollments.enrollment_id"), nullable=False),
    Column("step", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Numeric(14, 2)),
    instant("valid_until"),
    Column("state", Text, nullable=False),
    instant("state_at"),
    Column("pool", Text),
    # The code's own end, with which it goes back to its pool.
    instant("pool_until", nullable=True),
    Column("minimum", Numeric(14, 2)),
    Column("currency", Text),
    Column("gift", JSONB),
    instant("counts_until"),
    instant("reserved_at"),
    # One coupon for a person and a step, however often the step is planned.
    UniqueConstraint("enrollment_id", "step"),
    # A code is one person's at a time, however it is typed. What was given back may be given to somebody else.
    Index("uq_coupons_key", text("coupon_key(code)"), unique=True, postgresql_where=text("state <> 'given_back'")),
    Index("ix_coupons_customer_id", "customer_id"),
    Index("ix_coupons_pool", "pool", "reserved_at", postgresql_where=text("pool is not null")),
    Index("ix_coupons_open", "counts_until", postgresql_where=text("state in ('reserved', 'issued')")),
    Index("ix_coupons_reserved_at", "reserved_at", postgresql_using="brin"),
    # reserved -> issued (accepted) ; reserved -> given_back (withheld, refused) -> reserved (planned again)
    # reserved, issued -> redeemed (an order has the code) ; -> expired ; expired -> redeemed (the order was told late)
    # redeemed -> issued, expired (that order came to nothing)
    one_of("state", COUPON_STATES),
    one_of("kind", COUPON_KINDS),
    CheckConstraint("value is not null or kind = 'gift'", name="value_or_gift"),
    CheckConstraint("(gift is not null) = (kind = 'gift')", name="gift_named"),
    comment="Personal codes. Reserved when the step is planned, issued when a provider accepted the message. An order counts "
    "until counts_until: valid_until and the grace that the journey allows.",
)

pool_codes = Table(
    "pool_codes",
    metadata,
    identity("code_id"),
    Column("pool", Text, nullable=False),
    Column("code", Text, nullable=False),
    instant("valid_until", nullable=True),
    instant("added_at"),
    Index("uq_pool_codes_key", text("coupon_key(code)"), unique=True),
    Index("ix_pool_codes_pool", "pool", "valid_until", "code_id"),
    comment="Uploaded codes that nobody has yet. A plan moves them to coupons; what is given back comes back.",
)

coupon_uses = Table(
    "coupon_uses",
    metadata,
    Column("coupon_id", BigInteger, ForeignKey("coupons.coupon_id", ondelete="cascade"), nullable=False),
    Column("order_id", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    # Somebody else ordered.
    Column("is_shared", Boolean, nullable=False),
    Column("cost", Numeric(18, 4)),
    Column("currency", Text),
    instant("occurred_at"),
    PrimaryKeyConstraint("coupon_id", "order_id"),
    # A coupon counts once.
    Index("uq_coupon_uses_counted", "coupon_id", unique=True, postgresql_where=text("verdict = 'counted'")),
    Index("ix_coupon_uses_order_id", "order_id"),
    one_of("verdict", VERDICTS),
    comment="Which orders a coupon's code stands on: the first in time is counted. Worked out anew from orders, as of an "
    "instant; cost is what the shop gave away, null where nobody can tell.",
)

coupon_matches = Table(
    "coupon_matches",
    metadata,
    identity("match_id"),
    instant("as_of"),
    instant("matched_at"),
    Column("is_whole", Boolean, nullable=False),
    Column("looked_at", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    comment="Every time coupons were held against orders: as of when, how many were looked at and changed.",
)
