"""The tables, as SQLAlchemy Core metadata. Owns names, types and invariants; runs no query.

Facts (what happened in the company) carry `occurred_at`, when it was true, and `recorded_at`, when we learned it.
Ours (what the engine decided and did) is written once: messages are inserted, outcomes appended. All instants are
`timestamptz`; no default reads the wall clock, the caller always says the time.
"""

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
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

MODES = ("live", "test")


def _instant(name: str, nullable: bool = False) -> Column:
    return Column(name, TIMESTAMP(timezone=True), nullable=nullable)


def _id(name: str) -> Column:
    return Column(name, BigInteger, Identity(always=True), primary_key=True)


def _one_of(column: str, words: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{w}'" for w in words)
    return CheckConstraint(f"{column} in ({listed})", name=f"{column}_known")


def _currency_check() -> CheckConstraint:
    # ISO 4217; without a pattern, which would cost a third of the time of a big load.
    return CheckConstraint("length(currency) = 3 and currency collate \"C\" between 'AAA' and 'ZZZ'", name="currency_iso4217")


# --- facts -----------------------------------------------------------------------------------------------------------


def _customer_columns() -> list[Column]:
    return [
        Column("name", Text),
        Column("email", Text),
        Column("phone", Text),
        Column("birth_calendar", Text),
        Column("birth_year", SmallInteger),
        Column("birth_month", SmallInteger),
        Column("birth_day", SmallInteger),
        Column("birth_leap_month", Boolean, nullable=False, server_default=text("false")),
        Column("locale", Text),
        Column("timezone", Text),
        Column("country", Text),
        Column("attributes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
        # Columns that no source gave and we worked out (country, timezone): a source's own word replaces them.
        Column("derived", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
        Column("source", Text),
        _instant("occurred_at"),
        _instant("recorded_at"),
    ]


def _order_columns() -> list[Column]:
    return [
        Column("customer_id", Text, nullable=False),
        Column("amount", Numeric(18, 4)),
        Column("currency", Text),
        Column("source", Text),
        _instant("occurred_at"),
        _instant("recorded_at"),
    ]


def _order_item_columns() -> list[Column]:
    return [
        Column("product_id", Text),
        Column("category", Text),
        Column("quantity", Numeric(14, 3), nullable=False),
        Column("amount", Numeric(18, 4), nullable=False),
        Column("currency", Text, nullable=False),
        Column("coupon_code", Text),
        _instant("recorded_at"),
    ]


customers = Table(
    "customers",
    metadata,
    Column("customer_id", Text, primary_key=True),
    *_customer_columns(),
    _one_of("birth_calendar", ("solar", "lunar")),
    # A birthday is a month and a day, or nothing: half a birthday would greet somebody on a wrong day.
    CheckConstraint(
        "(birth_month is null) = (birth_day is null) and (birth_month is null) = (birth_calendar is null)",
        name="birthday_whole",
    ),
    CheckConstraint("birth_month between 1 and 12 and birth_day between 1 and 31", name="birthday_possible"),
    # A phone number is E.164 or it is not there: everything downstream dials it as it stands.
    CheckConstraint(r"phone ~ '^\+[1-9][0-9]{6,14}$'", name="phone_e164"),
    Index("ix_customers_birthday", "birth_calendar", "birth_month", "birth_day"),
    comment="Fact: who the customers are, as last learned. A trigger moves what is replaced to customer_history.",
)

customer_history = Table(
    "customer_history",
    metadata,
    Column("customer_id", Text, nullable=False),
    *_customer_columns(),
    _instant("replaced_at"),
    PrimaryKeyConstraint("customer_id", "replaced_at"),
    comment="Fact: earlier states of a customer, valid from recorded_at until replaced_at (exclusive).",
)

orders = Table(
    "orders",
    metadata,
    Column("order_id", Text, primary_key=True),
    *_order_columns(),
    Index("ix_orders_customer_id_occurred_at", "customer_id", "occurred_at"),
    _currency_check(),
    CheckConstraint("(amount is null) = (currency is null)", name="amount_whole"),
    comment="Fact: an order, at the moment it was placed; amount is its total where the source gives one, else its items "
    "add up. What became of it is in order_status. A trigger moves what is replaced to order_history.",
)

order_history = Table(
    "order_history",
    metadata,
    Column("order_id", Text, nullable=False),
    *_order_columns(),
    _instant("replaced_at"),
    PrimaryKeyConstraint("order_id", "replaced_at"),
    Index("ix_order_history_customer_id", "customer_id"),
    comment="Fact: earlier states of an order, valid from recorded_at until replaced_at (exclusive).",
)

# No foreign keys among orders, their items and their status: sources bring them in any order, and what came first waits,
# unseen by the views of as_of, for the rest. A load's report counts what waits.
order_status = Table(
    "order_status",
    metadata,
    Column("order_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    _instant("occurred_at"),
    _instant("recorded_at"),
    PrimaryKeyConstraint("order_id", "status", "occurred_at"),
    _one_of("status", ("placed", "paid", "delivered", "cancelled", "refunded")),
    comment="Fact: the history of an order's status; append-only. An order without one counts as placed.",
)

order_items = Table(
    "order_items",
    metadata,
    Column("order_id", Text, nullable=False),
    Column("line", Integer, nullable=False),
    *_order_item_columns(),
    PrimaryKeyConstraint("order_id", "line"),
    Index("ix_order_items_coupon_code", text("upper(coupon_code)"), postgresql_where=text("coupon_code is not null")),
    _currency_check(),
    comment="Fact: what was bought. amount is the line's total in its currency, after discounts. A trigger moves what is "
    "replaced to order_item_history.",
)

order_item_history = Table(
    "order_item_history",
    metadata,
    Column("order_id", Text, nullable=False),
    Column("line", Integer, nullable=False),
    *_order_item_columns(),
    _instant("replaced_at"),
    PrimaryKeyConstraint("order_id", "line", "replaced_at"),
    comment="Fact: earlier states of an order's line, valid from recorded_at until replaced_at (exclusive).",
)

products = Table(
    "products",
    metadata,
    Column("product_id", Text, primary_key=True),
    Column("name", Text),
    Column("category", Text),
    Column("price", Numeric(18, 4)),
    Column("currency", Text),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("source", Text),
    _instant("occurred_at"),
    _instant("recorded_at"),
    _currency_check(),
    comment="Fact: what is for sale, as last learned; no history is kept. recorded_at is when it was first learned.",
)

event_kinds = Table(
    "event_kinds",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("title", Text, nullable=False),
    comment="The registry of event kinds; an event of another kind is refused.",
)

events = Table(
    "events",
    metadata,
    _id("event_id"),
    Column("customer_id", Text, nullable=False),
    Column("kind", Text, ForeignKey("event_kinds.kind"), nullable=False),
    _instant("occurred_at"),
    _instant("recorded_at"),
    Column("source_key", Text),
    Column("data", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Index("ix_events_customer_id_kind_occurred_at", "customer_id", "kind", "occurred_at"),
    # The source's own key makes a repeated load harmless.
    Index("uq_events_source_key", "source_key", unique=True, postgresql_where=text("source_key is not null")),
    comment="Fact: everything a customer did besides ordering; append-only.",
)

consents = Table(
    "consents",
    metadata,
    _id("consent_id"),
    Column("customer_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("is_granted", Boolean, nullable=False),
    Column("source", Text, nullable=False),
    _instant("occurred_at"),
    _instant("recorded_at"),
    _one_of("purpose", ("marketing", "transactional")),
    Index("ix_consents_latest", "customer_id", "channel", "purpose", "occurred_at"),
    comment="Fact: each time a customer granted or withdrew permission per channel and purpose; append-only, the latest counts.",
)

suppressions = Table(
    "suppressions",
    metadata,
    _id("suppression_id"),
    Column("channel", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("is_suppressed", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    _instant("occurred_at"),
    _instant("recorded_at"),
    Index("ix_suppressions_latest", "channel", "address", "occurred_at"),
    comment="Fact: addresses we must not use, and when that was lifted; append-only, the latest counts.",
)

lunar_months = Table(
    "lunar_months",
    metadata,
    Column("lunar_year", SmallInteger, nullable=False),
    Column("month", SmallInteger, nullable=False),
    Column("is_leap", Boolean, nullable=False),
    Column("first_day", Date, nullable=False),
    Column("days", SmallInteger, nullable=False),
    PrimaryKeyConstraint("lunar_year", "month", "is_leap"),
    comment="The Chinese calendar 1900-2100: first_day is the solar date of each lunar month's first day.",
)

# --- how the facts came in ------------------------------------------------------------------------------------------

imports = Table(
    "imports",
    metadata,
    _id("import_id"),
    Column("mapping", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("is_history", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    _instant("started_at"),
    _instant("ended_at", nullable=True),
    Column("rows_read", BigInteger, nullable=False, server_default=text("0")),
    Column("rows_rejected", BigInteger, nullable=False, server_default=text("0")),
    Column("cells_left_out", BigInteger, nullable=False, server_default=text("0")),
    Column("summary", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("error", Text),
    # running -> done ; running -> failed ; running -> interrupted (its process died: nothing of it was kept)
    _one_of("state", ("running", "done", "failed", "interrupted")),
    Index("ix_imports_started_at", "started_at"),
    comment="Every load of a file or from a database: what came in, what did not. Its facts and its end are one transaction.",
)

rejected_rows = Table(
    "rejected_rows",
    metadata,
    Column("import_id", BigInteger, ForeignKey("imports.import_id"), nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("level", Text, nullable=False),
    Column("column", Text),
    Column("reason", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("raw", Text, nullable=False),
    _one_of("level", ("row", "cell")),
    Index("ix_rejected_rows_import_id_line", "import_id", "line"),
    comment="What a load did not take: a whole row, or one cell of a row that came in without it. Kept as it was read.",
)

sync_marks = Table(
    "sync_marks",
    metadata,
    Column("mapping", Text, primary_key=True),
    Column("watermark", Text, nullable=False),
    Column("import_id", BigInteger, ForeignKey("imports.import_id"), nullable=False),
    _instant("moved_at"),
    comment="How far each synchronised query was read; moved in the transaction that loads the rows.",
)

quality_checks = Table(
    "quality_checks",
    metadata,
    _id("check_id"),
    Column("import_id", BigInteger, ForeignKey("imports.import_id"), nullable=False),
    Column("check", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("found", Numeric(18, 4)),
    Column("limit", Numeric(18, 4)),
    Column("detail", Text, nullable=False),
    _instant("checked_at"),
    UniqueConstraint("import_id", "check"),
    _one_of("verdict", ("good", "warn", "stop", "too_few")),
    comment="What was found when the facts were looked over after a load, beside the limit that applied.",
)

data_holds = Table(
    "data_holds",
    metadata,
    _id("hold_id"),
    Column("check", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("import_id", BigInteger, ForeignKey("imports.import_id"), nullable=False),
    Column("reason", Text, nullable=False),
    _instant("placed_at"),
    _instant("lifted_at", nullable=True),
    Column("lifted_by", Text),
    Column("lift_reason", Text),
    # One hold at a time for a check and a source.
    Index("uq_data_holds_standing", "check", "source", unique=True, postgresql_where=text("lifted_at is null")),
    comment="While a row stands (lifted_at is null) nobody enters, nothing is planned and nothing is handed over: the data "
    "is not fit. Lifted by the next good load of the source, or by a person.",
)

customer_merges = Table(
    "customer_merges",
    metadata,
    _id("merge_id"),
    Column("kept_id", Text, nullable=False),
    Column("merged_id", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("before", JSONB, nullable=False),
    _instant("merged_at"),
    _instant("undone_at", nullable=True),
    # A customer goes on under one other id at most.
    Index("uq_customer_merges_standing", "merged_id", unique=True, postgresql_where=text("undone_at is null")),
    CheckConstraint("kept_id <> merged_id", name="two_customers"),
    comment="One person under two ids: what belonged to merged_id goes on under kept_id until undone_at.",
)

customer_merge_rows = Table(
    "customer_merge_rows",
    metadata,
    Column("merge_id", BigInteger, ForeignKey("customer_merges.merge_id"), nullable=False),
    Column("table_name", Text, nullable=False),
    Column("row_key", Text, nullable=False),
    PrimaryKeyConstraint("merge_id", "table_name", "row_key"),
    comment="Which rows a merge gave to the kept customer (or added), so that it can be undone.",
)

# --- what was decided ------------------------------------------------------------------------------------------------

journey_versions = Table(
    "journey_versions",
    metadata,
    _id("version_id"),
    Column("journey", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("content", JSONB, nullable=False),
    _instant("created_at"),
    # The same text is the same version, however often it is loaded.
    UniqueConstraint("journey", "content_hash"),
    comment="Every text a cohort ever ran on: content holds the files (path -> text) the version was built from.",
)

cohorts = Table(
    "cohorts",
    metadata,
    _id("cohort_id"),
    Column("mode", Text, nullable=False),
    Column("journey", Text, nullable=False),
    _instant("cohort_at"),
    Column("version_id", BigInteger, ForeignKey("journey_versions.version_id"), nullable=False),
    Column("status", Text, nullable=False),
    Column("is_on_time", Boolean, nullable=False, server_default=text("false")),
    Column("candidates", Integer, nullable=False),
    _instant("created_at"),
    _instant("settled_at", nullable=True),
    # A second run for the same moment joins the cohort that is there.
    UniqueConstraint("mode", "journey", "cohort_at"),
    _one_of("mode", MODES),
    # held -> open (a person approved) ; open -> settled
    _one_of("status", ("held", "open", "settled")),
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
    _instant("joined_at"),
    PrimaryKeyConstraint("journey", "run_id"),
    Index("ix_cohort_runs_cohort_id", "cohort_id"),
    comment="Which Airflow runs carried a cohort: the one that made it, and those that joined it.",
)

enrollments = Table(
    "enrollments",
    metadata,
    _id("enrollment_id"),
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
    _instant("entered_at"),
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
    _id("refusal_id"),
    Column("cohort_id", BigInteger, ForeignKey("cohorts.cohort_id"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("journey", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("occurrence", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _one_of("reason", ("backlog", "reenter_after", "same_address", "max_per_day")),
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
    "frequency_cap",
    "no_coupon",
)
"""Why somebody is not contacted, in the published order: the first that applies is the recorded one."""

REDECIDABLE = ("frequency_cap", "no_coupon", "no_address", "no_consent")
"""Skips that may be decided again while the step is open, as a new attempt."""

batches = Table(
    "batches",
    metadata,
    _id("batch_id"),
    Column("cohort_id", BigInteger, ForeignKey("cohorts.cohort_id"), nullable=False),
    Column("step", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("wave", SmallInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    _instant("planned_at"),
    _instant("sending_at", nullable=True),
    _instant("done_at", nullable=True),
    Column("error", Text),
    UniqueConstraint("cohort_id", "step", "channel", "wave", "ordinal"),
    # ready -> sending -> done ; sending -> ready (nobody was accepted) ; sending -> unknown -> done
    # ready -> failed (it kept failing: visible, never sent)
    _one_of("state", ("ready", "sending", "unknown", "done", "failed")),
    comment="The unit that is handed to a provider: committed as `sending` before the call. Its members never change.",
)

coupons = Table(
    "coupons",
    metadata,
    _id("coupon_id"),
    Column("code", Text, nullable=False, unique=True),
    Column("mode", Text, nullable=False),
    Column("enrollment_id", BigInteger, ForeignKey("enrollments.enrollment_id"), nullable=False),
    Column("step", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Numeric(14, 2), nullable=False),
    _instant("valid_until"),
    Column("state", Text, nullable=False),
    _instant("state_at"),
    # One coupon for a person and a step, however often the step is planned.
    UniqueConstraint("enrollment_id", "step"),
    Index("ix_coupons_customer_id", "customer_id"),
    # reserved -> issued -> redeemed ; reserved -> given_back -> reserved ; issued -> expired
    _one_of("state", ("reserved", "issued", "redeemed", "expired", "given_back")),
    comment="Personal codes. Reserved when the step is planned, issued when a provider accepted the message.",
)

messages = Table(
    "messages",
    metadata,
    _id("message_id"),
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
    Column("coupon_id", BigInteger, ForeignKey("coupons.coupon_id")),
    Column("batch_id", BigInteger, ForeignKey("batches.batch_id")),
    _instant("due_at"),
    _instant("not_before"),
    _instant("not_after"),
    _instant("planned_at"),
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
    _one_of("decision", ("send", "skip")),
    _one_of("role", ("first", "also", "fallback", "repeat")),
    _one_of("reason", SKIP_REASONS),
    # Every decision is whole: a send has an address, a locale and a batch; a skip has its one reason.
    CheckConstraint(
        "case decision when 'send' then reason is null and address is not null and locale is not null "
        "and batch_id is not null else reason is not null and batch_id is null end",
        name="decision_whole",
    ),
    comment="One decision for one enrollment, step, channel and attempt: to send, or not and why. Inserted once.",
)

outcomes = Table(
    "outcomes",
    metadata,
    _id("outcome_id"),
    Column("message_id", BigInteger, ForeignKey("messages.message_id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text),
    Column("provider", Text),
    Column("provider_id", Text),
    _instant("occurred_at"),
    _instant("recorded_at"),
    # A message is handed over once: accepted, withheld by us, or refused by the provider.
    Index(
        "uq_outcomes_handed_over",
        "message_id",
        unique=True,
        postgresql_where=text("kind in ('accepted', 'withheld', 'refused')"),
    ),
    Index("ix_outcomes_message_id", "message_id"),
    comment="What happened to a message; append-only.",
)

outbox = Table(
    "outbox",
    metadata,
    _id("outbox_id"),
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
    _instant("accepted_at"),
    comment="What would have gone out, to look at. Behaves like a provider: a message id is accepted once.",
)

stops = Table(
    "stops",
    metadata,
    _id("stop_id"),
    Column("journey", Text),
    Column("reason", Text, nullable=False),
    Column("stopped_by", Text, nullable=False),
    _instant("stopped_at"),
    _instant("lifted_at", nullable=True),
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
    _id("audit_id"),
    _instant("at"),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("journey", Text),
    Column("cohort_id", BigInteger),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    comment="Who did what to a journey, and why; append-only.",
)

__all__ = ["metadata", "MODES", "SKIP_REASONS", "REDECIDABLE"]
