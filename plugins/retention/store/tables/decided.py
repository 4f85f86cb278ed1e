"""What the engine decided and did. Written once: messages are inserted, outcomes appended."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Time,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from retention.store.tables.columns import identity, instant, metadata, one_of

MODES = ("live", "test")


journey_versions = Table(
    "journey_versions",
    metadata,
    identity("version_id"),
    Column("journey", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("content", JSONB, nullable=False),
    instant("created_at"),
    # The same text is the same version, however often it is loaded.
    UniqueConstraint("journey", "content_hash"),
    comment="Every text a cohort ever ran on: content holds the files (path -> text) the version was built from.",
)

cohorts = Table(
    "cohorts",
    metadata,
    identity("cohort_id"),
    Column("mode", Text, nullable=False),
    Column("journey", Text, nullable=False),
    instant("cohort_at"),
    Column("version_id", BigInteger, ForeignKey("journey_versions.version_id"), nullable=False),
    Column("status", Text, nullable=False),
    Column("is_on_time", Boolean, nullable=False, server_default=text("false")),
    Column("candidates", Integer, nullable=False),
    instant("created_at"),
    instant("settled_at", nullable=True),
    # A second run for the same moment joins the cohort that is there.
    UniqueConstraint("mode", "journey", "cohort_at"),
    one_of("mode", MODES),
    # held -> open (a person approved) ; open -> settled
    one_of("status", ("held", "open", "settled")),
    # Only a test may pretend that its waits are over.
    CheckConstraint("mode = 'test' or not is_on_time", name="on_time_is_test"),
    comment="The customers who entered one journey at one scheduled moment; one Airflow run carries one cohort.",
)

cohort_runs = Table(
    "cohort_runs",
    metadata,
    Column("journey", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("cohort_id", BigInteger, ForeignKey("cohorts.cohort_id"), nullable=False),
    instant("joined_at"),
    PrimaryKeyConstraint("journey", "run_id"),
    Index("ix_cohort_runs_cohort_id", "cohort_id"),
    comment="Which Airflow runs carried a cohort: the one that made it, and those that joined it.",
)

enrollments = Table(
    "enrollments",
    metadata,
    identity("enrollment_id"),
    Column("cohort_id", BigInteger, ForeignKey("cohorts.cohort_id"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("journey", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("occurrence", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("is_eligible", Boolean, nullable=False),
    Column("ineligible_reason", Text),
    Column("email", Text),
    Column("phone", Text),
    instant("entered_at"),
    Column("audience", Text),
    # Entry is by occurrence, once.
    UniqueConstraint("mode", "journey", "customer_id", "occurrence"),
    # Nobody is twice in one cohort, whatever the audience returns.
    UniqueConstraint("cohort_id", "customer_id"),
    CheckConstraint("is_eligible = (ineligible_reason is null)", name="eligible_or_why"),
    Index("ix_enrollments_email", "mode", "journey", "email"),
    Index("ix_enrollments_phone", "mode", "journey", "phone"),
    Index("ix_enrollments_customer_id", "customer_id"),
    comment="One customer in one cohort. entered_at is the cohort's moment; email and phone are those known then.",
)

entry_refusals = Table(
    "entry_refusals",
    metadata,
    identity("refusal_id"),
    Column("cohort_id", BigInteger, ForeignKey("cohorts.cohort_id"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("journey", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("occurrence", Text, nullable=False),
    Column("reason", Text, nullable=False),
    one_of("reason", ("backlog", "reenter_after", "same_address", "resting", "under_way", "max_per_day")),
    # A reason is written down once per occurrence, not once a day.
    UniqueConstraint("mode", "journey", "customer_id", "occurrence", "reason"),
    Index("ix_entry_refusals_cohort_id", "cohort_id"),
    Index("ix_entry_refusals_customer_id", "customer_id"),
    comment="Who the audience named and the journey did not take in, and why.",
)

SKIP_REASONS = (
    "holdout",
    "stopped",
    "retired",
    "merged",
    "exited",
    "goal_met",
    "expired",
    "not_needed",
    "suppressed",
    "no_consent",
    "no_address",
    "duplicate_address",
    "outranked",
    "frequency_cap",
    "no_coupon",
)
"""Why somebody is not contacted, in the published order: the first that applies is the recorded one."""

REDECIDABLE = ("outranked", "frequency_cap", "no_coupon", "no_address", "no_consent")
"""Skips that may be decided again while the step is open, as a new attempt."""

batches = Table(
    "batches",
    metadata,
    identity("batch_id"),
    Column("cohort_id", BigInteger, ForeignKey("cohorts.cohort_id"), nullable=False),
    Column("step", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("wave", SmallInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    instant("not_before", nullable=True),
    Column("zone", Text),
    Column("opens", Time),
    Column("closes", Time),
    Column("state", Text, nullable=False),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    instant("planned_at"),
    instant("sending_at", nullable=True),
    instant("done_at", nullable=True),
    Column("error", Text),
    # Messages whose answer was lost and that nothing has settled: kept here, so that lists need not look at messages.
    Column("in_doubt", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("cohort_id", "step", "channel", "wave", "ordinal"),
    # ready -> sending -> done ; sending -> ready (some may be tried again) ; sending -> unknown (some are in doubt) -> done
    # ready -> failed (it kept failing: visible, never sent) -> ready (a person has mended the cause)
    one_of("state", ("ready", "sending", "unknown", "done", "failed")),
    comment="The unit that is handed to a provider: committed as `sending` before the call. Its members never change. Not "
    "handed over before not_before, nor outside opens..closes in its members' zone.",
)

messages = Table(
    "messages",
    metadata,
    Column("message_id", BigInteger, Identity(always=True), nullable=False),
    Column("enrollment_id", BigInteger, ForeignKey("enrollments.enrollment_id"), nullable=False),
    Column("cohort_id", BigInteger, ForeignKey("cohorts.cohort_id"), nullable=False),
    Column("step", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("role", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("reason", Text),
    Column("address", Text),
    Column("locale", Text),
    # What it was decided with, where words or coupons differ: the template, if not the step's own, and values of the customer.
    Column("template", Text),
    Column("facts", JSONB),
    Column("coupon_id", BigInteger, ForeignKey("coupons.coupon_id")),
    Column("batch_id", BigInteger, ForeignKey("batches.batch_id")),
    instant("due_at"),
    instant("not_before"),
    instant("not_after"),
    instant("planned_at"),
    # Cut by enrollment: whatever must be unique of a person's messages is so within her part (months.py).
    PrimaryKeyConstraint("enrollment_id", "message_id"),
    Index("ix_messages_message_id", "message_id"),
    UniqueConstraint("enrollment_id", "step", "channel", "attempt"),
    # At most one send per person and step that is not marked as an extra channel, a fallback or a repeat.
    Index(
        "uq_messages_one_send",
        "enrollment_id",
        "step",
        unique=True,
        postgresql_where=text("decision = 'send' and role = 'first'"),
    ),
    Index("ix_messages_cohort_id_step", "cohort_id", "step"),
    Index("ix_messages_batch_id", "batch_id", postgresql_where=text("batch_id is not null")),
    one_of("decision", ("send", "skip")),
    one_of("role", ("first", "also", "fallback", "repeat")),
    one_of("reason", SKIP_REASONS),
    # Every decision is whole: a send has an address, a locale and a batch; a skip has its one reason.
    CheckConstraint(
        "case decision when 'send' then reason is null and address is not null and locale is not null "
        "and batch_id is not null else reason is not null and batch_id is null end",
        name="decision_whole",
    ),
    postgresql_partition_by="RANGE (enrollment_id)",
    comment="One decision for one enrollment, step, channel and attempt: to send, or not and why. Inserted once. A part a month.",
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("outcome_id", BigInteger, Identity(always=True), nullable=False),
    # No foreign key: a look-up and a row lock in messages for each row cost more than appending it.
    Column("message_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text),
    Column("provider", Text),
    Column("provider_id", Text),
    Column("segments", SmallInteger),
    instant("occurred_at"),
    instant("recorded_at"),
    # The event that says so, as a digest of its id; null for what we did ourselves.
    Column("event_key", BigInteger),
    # Which link was clicked (links; a provider's as a digest), and whether by a machine: a scanner, a preview. Machines are
    # left out of rates.
    Column("link_id", BigInteger),
    Column("link_key", BigInteger),
    Column("is_machine", Boolean, nullable=False, server_default=text("false")),
    # An event is one outcome, however often and by whomever it is told.
    Index(
        "uq_outcomes_event_key",
        "message_id",
        "event_key",
        unique=True,
        postgresql_where=text("event_key is not null"),
    ),
    # A message is handed over once: accepted, withheld by us, or refused by the provider.
    Index(
        "uq_outcomes_handed_over",
        "message_id",
        unique=True,
        postgresql_where=text("kind in ('accepted', 'withheld', 'refused')"),
    ),
    # The answer to a hand-over was lost: never sent again. A later row of the kinds above settles it.
    Index("uq_outcomes_unknown", "message_id", unique=True, postgresql_where=text("kind = 'unknown'")),
    # By message first: one index fewer to keep than with an index of its own for that.
    PrimaryKeyConstraint("message_id", "outcome_id"),
    postgresql_partition_by="RANGE (message_id)",
    comment="What happened to a message; append-only. segments are those of an accepted SMS. is_machine: a program opened "
    "or clicked, not a person; may become true later, when a later event shows it. A part a month.",
)

outbox = Table(
    "outbox",
    metadata,
    identity("outbox_id"),
    Column("message_id", BigInteger, nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("subject", Text),
    Column("html", Text),
    Column("text", Text, nullable=False),
    Column("encoding", Text),
    Column("segments", SmallInteger),
    instant("accepted_at"),
    comment="What would have gone out, to look at. Behaves like a provider: a message id is accepted once.",
)

provider_accounts = Table(
    "provider_accounts",
    metadata,
    Column("account", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    instant("next_at", nullable=True),
    instant("blocked_until", nullable=True),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    instant("open_until", nullable=True),
    Column("openings", Integer, nullable=False, server_default=text("0")),
    Column("error", Text),
    Column("used_on", Date),
    Column("used", Integer, nullable=False, server_default=text("0")),
    comment="What all workers share about an account with a provider: the next free moment of its rate, its pauses "
    "(asked for, or a circuit that opened after failures), the segments of the day. Instants by the database's clock.",
)

stops = Table(
    "stops",
    metadata,
    identity("stop_id"),
    Column("journey", Text),
    Column("reason", Text, nullable=False),
    Column("stopped_by", Text, nullable=False),
    instant("stopped_at"),
    instant("lifted_at", nullable=True),
    # One stop at a time per journey (null: all journeys).
    Index(
        "uq_stops_standing",
        text("coalesce(journey, '*')"),
        unique=True,
        postgresql_where=text("lifted_at is null"),
    ),
    comment="The kill switch: while a row stands (lifted_at is null) nothing of the journey is handed over.",
)

audit_log = Table(
    "audit_log",
    metadata,
    identity("audit_id"),
    instant("at"),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("journey", Text),
    Column("cohort_id", BigInteger),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    comment="Who did what to a journey, and why; append-only.",
)
