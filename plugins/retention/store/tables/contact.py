"""The rules of contact in rows: what a customer chose, which contacts are claimed, which steps of a cohort are to come."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)

from retention.store.tables.columns import identity, instant, metadata, one_of
from retention.store.tables.decided import MODES

choices = Table(
    "choices",
    metadata,
    identity("choice_id"),
    Column("customer_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("is_granted", Boolean, nullable=False),
    Column("source", Text, nullable=False),
    Column("wording", Text),
    instant("occurred_at"),
    instant("recorded_at"),
    CheckConstraint("subject in ('profiling', 'abroad') or subject like 'topic:_%'", name="subject_known"),
    Index("ix_choices_latest", "customer_id", "subject", "occurred_at"),
    comment="Fact: what a customer chose besides consent to a channel: topics (topic:<id>), to be profiled, data abroad; "
    "append-only, the latest counts. wording is what they were shown.",
)

cohort_steps = Table(
    "cohort_steps",
    metadata,
    Column("cohort_id", BigInteger, ForeignKey("cohorts.cohort_id"), nullable=False),
    Column("step", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    instant("due_at"),
    instant("not_after"),
    PrimaryKeyConstraint("cohort_id", "step"),
    Index("ix_cohort_steps_due_at", "due_at"),
    one_of("purpose", ("marketing", "transactional")),
    comment="When each step of a cohort is due, and until when it may go out: other journeys ask whose turn it is.",
)

contact_slots = Table(
    "contact_slots",
    metadata,
    Column("customer_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("nth", SmallInteger, nullable=False),
    Column("journey", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("enrollment_id", BigInteger, nullable=False),
    Column("step", Text, nullable=False),
    # Who plans a contact claims the person's next number of that day: of two that plan at the same time one is refused.
    PrimaryKeyConstraint("customer_id", "mode", "day", "nth"),
    CheckConstraint("nth > 0", name="nth_positive"),
    one_of("mode", MODES),
    comment="Contacts that count for caps, each claimed before it is planned: the nth of a customer on a day of their own "
    "zone. Given back when the contact does not take place.",
)
