"""Lifetime value: the models that were fitted, what they say of each customer, and how right they were."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from retention.store.tables.columns import identity, instant, metadata

purchase_models = Table(
    "purchase_models",
    metadata,
    identity("model_id"),
    instant("as_of"),
    instant("known_at"),
    Column("zone", Text, nullable=False),
    Column("customers", Integer, nullable=False),
    Column("repeaters", Integer, nullable=False),
    Column("r", Double),
    Column("alpha", Double),
    Column("a", Double),
    Column("b", Double),
    Column("log_likelihood", Double),
    Column("refusal", Text),
    UniqueConstraint("as_of"),
    CheckConstraint("refusal is not null or num_nulls(r, alpha, a, b, log_likelihood) = 0", name="whole"),
    comment="Fits of BG/NBD to the purchases known at an instant, time in weeks. refusal says why one must not be used; then "
    "the last one without it goes on.",
)

spend_models = Table(
    "spend_models",
    metadata,
    identity("model_id"),
    instant("as_of"),
    instant("known_at"),
    Column("currency", Text, nullable=False),
    Column("customers", Integer, nullable=False),
    Column("correlation", Double),
    Column("p", Double),
    Column("q", Double),
    Column("v", Double),
    Column("log_likelihood", Double),
    Column("refusal", Text),
    UniqueConstraint("as_of", "currency"),
    CheckConstraint("refusal is not null or num_nulls(p, q, v, log_likelihood) = 0", name="whole"),
    comment="Fits of Gamma-Gamma to the mean amounts of repeat purchases in one currency. correlation is that of their "
    "number with their mean. refusal says why one must not be used.",
)

value_runs = Table(
    "value_runs",
    metadata,
    Column("as_of", instant("as_of").type, primary_key=True),
    instant("known_at"),
    Column("zone", Text, nullable=False),
    Column("purchase_model_id", BigInteger, ForeignKey("purchase_models.model_id"), nullable=False),
    Column("spend_model_ids", ARRAY(BigInteger), nullable=False),
    Column("discount_rate", Double, nullable=False),
    Column("is_full", Boolean, nullable=False),
    Column("customers", Integer, nullable=False),
    comment="When customer_values was written, and by which models: everybody (is_full), or those whose facts had changed.",
)

customer_values = Table(
    "customer_values",
    metadata,
    Column("customer_id", Text, nullable=False),
    instant("as_of"),
    Column("frequency", Integer),
    Column("first_on", Date),
    Column("last_on", Date),
    Column("currency", Text),
    Column("spend_days", Integer),
    Column("mean_spend", Double),
    Column("share", Double),
    Column("p_alive", Double),
    Column("purchases", Double),
    Column("spend", Double),
    Column("value", Double),
    PrimaryKeyConstraint("customer_id", "as_of"),
    Index("ix_customer_values_as_of", "as_of"),
    comment="What was expected of a customer in the next 12 months, at the instants when it was written; append-only. Valid "
    "until the customer's next row or the next full run. Without a frequency: nothing bought, or nothing any more.",
)

category_cycles = Table(
    "category_cycles",
    metadata,
    instant("as_of"),
    Column("category", Text, nullable=False),
    instant("known_at"),
    Column("customers", Integer, nullable=False),
    Column("days", Double, nullable=False),
    PrimaryKeyConstraint("as_of", "category"),
    comment="The usual interval between two purchases in a category, as of an instant, and of how many customers.",
)

score_calibrations = Table(
    "score_calibrations",
    metadata,
    Column("score", Text, nullable=False),
    instant("as_of"),
    instant("until_at"),
    Column("customers", Integer, nullable=False),
    Column("positives", Integer, nullable=False),
    Column("threshold", Double, nullable=False),
    Column("foretold", Integer, nullable=False),
    Column("hits", Integer, nullable=False),
    Column("deciles", JSONB, nullable=False),
    PrimaryKeyConstraint("score", "as_of", "until_at", "threshold"),
    comment="How right a score as of an instant was, by what happened until another: over time, one row a look.",
)
