"""What happened in the company, and when we learned of it. Tables of schema public; audiences see them through as_of."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from retention.store.tables.columns import currency_check, identity, instant, metadata, one_of


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
        instant("occurred_at"),
        instant("recorded_at"),
    ]


def _order_columns() -> list[Column]:
    return [
        Column("customer_id", Text, nullable=False),
        Column("amount", Numeric(18, 4)),
        Column("currency", Text),
        Column("source", Text),
        instant("occurred_at"),
        instant("recorded_at"),
    ]


def _order_item_columns() -> list[Column]:
    return [
        Column("product_id", Text),
        Column("category", Text),
        Column("quantity", Numeric(14, 3), nullable=False),
        Column("amount", Numeric(18, 4), nullable=False),
        Column("currency", Text, nullable=False),
        Column("coupon_code", Text),
        instant("recorded_at"),
    ]


customers = Table(
    "customers",
    metadata,
    Column("customer_id", Text, primary_key=True),
    *_customer_columns(),
    one_of("birth_calendar", ("solar", "lunar")),
    # A birthday is a month and a day, or nothing: half a birthday would greet somebody on a wrong day.
    CheckConstraint(
        "(birth_month is null) = (birth_day is null) and (birth_month is null) = (birth_calendar is null)",
        name="birthday_whole",
    ),
    CheckConstraint("birth_month between 1 and 12 and birth_day between 1 and 31", name="birthday_possible"),
    # A phone number is E.164 or it is not there: everything downstream dials it as it stands.
    CheckConstraint(r"phone ~ '^\+[1-9][0-9]{6,14}$'", name="phone_e164"),
    Index("ix_customers_birthday", "birth_calendar", "birth_month", "birth_day"),
    # Who leaves, leaves under every id that has the address; addresses of messages are in small letters.
    Index("ix_customers_email", text("lower(email)"), postgresql_where=text("email is not null")),
    Index("ix_customers_phone", "phone", postgresql_where=text("phone is not null")),
    comment="Fact: who the customers are, as last learned. A trigger moves what is replaced to customer_history.",
)

customer_history = Table(
    "customer_history",
    metadata,
    Column("customer_id", Text, nullable=False),
    *_customer_columns(),
    instant("replaced_at"),
    PrimaryKeyConstraint("customer_id", "replaced_at"),
    comment="Fact: earlier states of a customer, valid from recorded_at until replaced_at (exclusive).",
)

orders = Table(
    "orders",
    metadata,
    Column("order_id", Text, primary_key=True),
    *_order_columns(),
    Index("ix_orders_customer_id_occurred_at", "customer_id", "occurred_at"),
    # What is new since yesterday, and what left a window: orders lie in the order in which they came.
    Index("ix_orders_times", "occurred_at", "recorded_at", postgresql_using="brin"),
    Index("ix_orders_without_amount", "order_id", postgresql_where=text("amount is null")),
    currency_check(),
    CheckConstraint("(amount is null) = (currency is null)", name="amount_whole"),
    comment="Fact: an order, at the moment it was placed; amount is its total where the source gives one, else its items "
    "add up. What became of it is in order_status. A trigger moves what is replaced to order_history.",
)

order_history = Table(
    "order_history",
    metadata,
    Column("order_id", Text, nullable=False),
    *_order_columns(),
    instant("replaced_at"),
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
    instant("occurred_at"),
    instant("recorded_at"),
    PrimaryKeyConstraint("order_id", "status", "occurred_at"),
    one_of("status", ("placed", "paid", "delivered", "cancelled", "refunded")),
    # The few orders that came to nothing; scores leave them out.
    Index(
        "ix_order_status_undone",
        "order_id",
        "occurred_at",
        postgresql_where=text("status in ('cancelled', 'refunded')"),
    ),
    Index("ix_order_status_times", "occurred_at", "recorded_at", postgresql_using="brin"),
    comment="Fact: the history of an order's status; append-only. An order without one counts as placed.",
)

order_items = Table(
    "order_items",
    metadata,
    Column("order_id", Text, nullable=False),
    Column("line", Integer, nullable=False),
    *_order_item_columns(),
    PrimaryKeyConstraint("order_id", "line"),
    Index("ix_order_items_recorded_at", "recorded_at", postgresql_using="brin"),
    Index(
        "ix_order_items_coupon_code", text("coupon_key(coupon_code)"), postgresql_where=text("coupon_code is not null")
    ),
    currency_check(),
    comment="Fact: what was bought. amount is the line's total in its currency, after discounts. A trigger moves what is "
    "replaced to order_item_history.",
)

order_item_history = Table(
    "order_item_history",
    metadata,
    Column("order_id", Text, nullable=False),
    Column("line", Integer, nullable=False),
    *_order_item_columns(),
    instant("replaced_at"),
    PrimaryKeyConstraint("order_id", "line", "replaced_at"),
    Index(
        "ix_order_item_history_coupon_code",
        text("coupon_key(coupon_code)"),
        postgresql_where=text("coupon_code is not null"),
    ),
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
    instant("occurred_at"),
    instant("recorded_at"),
    currency_check(),
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
    identity("event_id"),
    Column("customer_id", Text, nullable=False),
    Column("kind", Text, ForeignKey("event_kinds.kind"), nullable=False),
    instant("occurred_at"),
    instant("recorded_at"),
    Column("source_key", Text),
    Column("data", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Index("ix_events_customer_id_kind_occurred_at", "customer_id", "kind", "occurred_at"),
    Index("ix_events_times", "occurred_at", "recorded_at", postgresql_using="brin"),
    # Few among many views and logins, and all of them count, however old: complaints, dimensions of value.
    Index(
        "ix_events_told",
        "kind",
        "customer_id",
        "occurred_at",
        postgresql_where=text(
            "kind in ('referral', 'review', 'answer', 'participation', 'community', 'survey', 'suggestion', "
            "'complaint_opened', 'complaint_solved')"
        ),
    ),
    # The source's own key makes a repeated load harmless.
    Index("uq_events_source_key", "source_key", unique=True, postgresql_where=text("source_key is not null")),
    comment="Fact: everything a customer did besides ordering; append-only.",
)

consents = Table(
    "consents",
    metadata,
    identity("consent_id"),
    Column("customer_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("is_granted", Boolean, nullable=False),
    Column("source", Text, nullable=False),
    # What the customer was shown: some countries ask for proof of the words.
    Column("wording", Text),
    instant("occurred_at"),
    instant("recorded_at"),
    one_of("purpose", ("marketing", "transactional")),
    Index("ix_consents_latest", "customer_id", "channel", "purpose", "occurred_at"),
    comment="Fact: each time a customer granted or withdrew permission per channel and purpose; append-only, the latest counts.",
)

suppressions = Table(
    "suppressions",
    metadata,
    identity("suppression_id"),
    Column("channel", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("is_suppressed", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    instant("occurred_at"),
    instant("recorded_at"),
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
