"""Where customers stand: churn, the points of seven dimensions, strata. All can be made anew from facts."""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from retention.store.tables.columns import instant, metadata, one_of

STANDINGS = ("churn", "points", "strata")

standing_runs = Table(
    "standing_runs",
    metadata,
    Column("score", Text, nullable=False),
    instant("as_of"),
    instant("known_at"),
    instant("computed_at"),
    Column("zone", Text, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("found", JSONB, nullable=False),
    Column("customers", Integer, nullable=False),
    Column("moved", Integer, nullable=False),
    PrimaryKeyConstraint("score", "as_of"),
    one_of("score", STANDINGS),
    comment="Every time churn, points or strata were worked out: by which rules, what was found of everybody (cut points, "
    "what had no data), how many customers have the score and how many rows were written.",
)

churn = Table(
    "churn",
    metadata,
    Column("customer_id", Text, nullable=False),
    instant("since"),
    Column("state", Text),
    Column("previous", Text),
    Column("score", REAL),
    *(Column(name, REAL) for name in ("overdue", "no_login", "no_response", "complaints", "undone")),
    PrimaryKeyConstraint("customer_id", "since"),
    one_of("state", ("active", "warning", "churned")),
    CheckConstraint("state is distinct from previous", name="a_change"),
    CheckConstraint("(state is null) = (score is null)", name="whole"),
    Index("ix_churn_since", "since", postgresql_using="brin", postgresql_with={"pages_per_range": "8"}),
    comment="Every change of the state of churn, append-only: from `since` (the run's as_of) until the customer's next row. "
    "state null: no longer scored. score and what each indicator adds to it are those at the change; null: no data.",
)

customer_points = Table(
    "customer_points",
    metadata,
    Column("customer_id", Text, nullable=False),
    instant("since"),
    Column("points", REAL),
    *(
        Column(name, REAL)
        for name in ("purchases", "referrals", "advocacy", "answers", "participation", "surveys", "suggestions")
    ),
    PrimaryKeyConstraint("customer_id", "since"),
    Index("ix_customer_points_since", "since", postgresql_using="brin", postgresql_with={"pages_per_range": "8"}),
    comment="Points of value, 0 to 100, together and by dimension (null: nobody has any), append-only: written when one moved "
    "by the dead band. points null: no longer a customer.",
)

strata = Table(
    "strata",
    metadata,
    Column("customer_id", Text, nullable=False),
    instant("since"),
    Column("stratum", SmallInteger),
    Column("previous", SmallInteger),
    Column("basis", Text),
    Column("value", Double),
    PrimaryKeyConstraint("customer_id", "since"),
    CheckConstraint("stratum between 1 and 5", name="stratum_known"),
    one_of("basis", ("lifetime_value", "purchases", "past_year")),
    CheckConstraint("(stratum is null) = (basis is null)", name="whole"),
    Index("ix_strata_since", "since", postgresql_using="brin", postgresql_with={"pages_per_range": "8"}),
    comment="Every change of stratum (1 is the best) or of its basis, append-only. value: what was expected at the change. "
    "stratum null: no longer in one.",
)

__all__ = ["STANDINGS", "churn", "customer_points", "standing_runs", "strata"]
