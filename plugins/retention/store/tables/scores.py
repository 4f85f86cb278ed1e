"""What is worked out of facts about each customer: sums, cut points, tiers. Everything here can be made anew from facts."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from retention.store.tables.columns import identity, instant, metadata, one_of

SCHEMES = ("six", "shares")

score_runs = Table(
    "score_runs",
    metadata,
    identity("run_id"),
    instant("as_of"),
    instant("known_at"),
    instant("computed_at"),
    Column("is_rebuild", Boolean, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("customers", Integer, nullable=False),
    Column("touched", Integer, nullable=False),
    Column("moved", Integer, nullable=False),
    # Time runs one way: the next run is later, and a moment has one.
    Index("uq_score_runs_as_of", "as_of", unique=True),
    comment="Every time scores were worked out: as of when, known until when, by which rules, and how many customers were "
    "looked at again and moved to another tier.",
)

customer_sums = Table(
    "customer_sums",
    metadata,
    Column("customer_id", Text, primary_key=True),
    instant("first_order_at", nullable=True),
    instant("last_order_at", nullable=True),
    Column("orders", Integer, nullable=False),
    Column("amount", Numeric(20, 4), nullable=False),
    Column("orders_before", Integer, nullable=False),
    Column("amount_before", Numeric(20, 4), nullable=False),
    Column("returns", Integer, nullable=False),
    Column("unpriced_orders", Integer, nullable=False),
    Column("logins", Integer, nullable=False),
    Column("views", Integer, nullable=False),
    Column("carts", Integer, nullable=False),
    Column("participations", Integer, nullable=False),
    Column("community", Integer, nullable=False),
    instant("last_login_at", nullable=True),
    Column("levels", SmallInteger, nullable=False),
    Column("six", Text),
    Column("shares", Text),
    CheckConstraint("levels between 0 and 80", name="levels_possible"),
    # Room on each page for the day's changes: an update that stays on its page touches no index.
    postgresql_with={"fillfactor": 75},
    comment="A row a customer, as of the latest run alone: sums over the windows, levels (recency, frequency, monetary, "
    "activity as digits to the base of 3) and tiers. The past is in tiers, and in the facts.",
)

score_cuts = Table(
    "score_cuts",
    metadata,
    Column("run_id", BigInteger, ForeignKey("score_runs.run_id"), nullable=False),
    Column("dimension", Text, nullable=False),
    Column("point", Text, nullable=False),
    Column("cut", Double),
    Column("kept", Double),
    Column("is_inclusive", Boolean, nullable=False),
    PrimaryKeyConstraint("run_id", "dimension", "point"),
    comment="The cut points of a run, null where there was nobody to cut. Who exceeds cut (or, if is_inclusive, reaches it) "
    "rises to the level or tier `point`; who was there stays down to kept. Recency in seconds since 1970.",
)

tiers = Table(
    "tiers",
    metadata,
    Column("customer_id", Text, nullable=False),
    Column("scheme", Text, nullable=False),
    instant("since"),
    Column("tier", Text),
    Column("previous", Text),
    Column("levels", SmallInteger),
    PrimaryKeyConstraint("customer_id", "scheme", "since"),
    one_of("scheme", SCHEMES),
    CheckConstraint("tier is distinct from previous", name="a_change"),
    # Written in the order of time, a whole run at once: pages of one day lie together.
    Index("ix_tiers_since", "since", postgresql_using="brin", postgresql_with={"pages_per_range": "8"}),
    comment="Every change of tier, append-only: from `since` (the run's as_of) until the customer's next row. tier null: no "
    "longer scored. levels: those at the change.",
)

__all__ = ["SCHEMES", "customer_sums", "score_cuts", "score_runs", "tiers"]
