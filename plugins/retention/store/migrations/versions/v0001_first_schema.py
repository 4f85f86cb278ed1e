"""The first schema: facts, what was decided, and the views of schema `as_of`."""

from datetime import date

import sqlalchemy as sa
from alembic import op
from lunar_python import LunarYear
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

EVENT_KINDS = {
    "login": "登录 / login",
    "view": "浏览 / product view",
    "cart": "加购 / added to cart",
    "participation": "参与活动 / took part in an activity",
    "referral": "推荐好友 / referred a friend",
    "review": "评价 / review",
    "answer": "解答他人 / answered another customer",
    "survey": "问卷 / survey answer",
    "suggestion": "建议 / suggestion",
    "complaint_opened": "投诉 / complaint opened",
    "complaint_solved": "投诉解决 / complaint solved",
    "community": "社区 / community activity",
}

# What was replaced stays readable "as known then". A correction that claims an earlier moment of recording than the
# row it replaces has no period of its own and leaves no history.
KEEP_HISTORY = """
create function keep_customer_history() returns trigger language plpgsql as $$
begin
    if new.recorded_at > old.recorded_at then
        insert into customer_history (
            customer_id, name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month,
            locale, timezone, country, attributes, occurred_at, recorded_at, replaced_at)
        values (
            old.customer_id, old.name, old.email, old.phone, old.birth_calendar, old.birth_year, old.birth_month,
            old.birth_day, old.birth_leap_month, old.locale, old.timezone, old.country, old.attributes,
            old.occurred_at, old.recorded_at, new.recorded_at);
    end if;
    return new;
end $$;
create trigger keep_history before update on customers for each row execute function keep_customer_history();
"""

# What audiences and plans see: facts that had occurred by moment() and were recorded by known(), nothing of the future.
AS_OF = """
create schema as_of;
create function as_of.moment() returns timestamptz language sql stable
    as $$ select current_setting('retention.as_of')::timestamptz $$;
create function as_of.known() returns timestamptz language sql stable
    as $$ select current_setting('retention.known_at')::timestamptz $$;
create function as_of.window_start() returns timestamptz language sql stable
    as $$ select current_setting('retention.window_start')::timestamptz $$;
create function as_of.zone() returns text language sql stable
    as $$ select current_setting('retention.zone') $$;

create view as_of.customers as
    select customer_id, name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month,
           locale, timezone, country, attributes, occurred_at, recorded_at
    from public.customers
    where occurred_at <= as_of.moment() and recorded_at <= as_of.known()
    union all
    select customer_id, name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month,
           locale, timezone, country, attributes, occurred_at, recorded_at
    from public.customer_history
    where occurred_at <= as_of.moment() and recorded_at <= as_of.known() and replaced_at > as_of.known();

create view as_of.order_status as
    select order_id, status, occurred_at, recorded_at from public.order_status
    where occurred_at <= as_of.moment() and recorded_at <= as_of.known();

create view as_of.orders as
    select o.order_id, o.customer_id, o.occurred_at, o.recorded_at,
           (select s.status from as_of.order_status s where s.order_id = o.order_id
            order by s.occurred_at desc,
                     array_position(array['placed', 'paid', 'delivered', 'cancelled', 'refunded'], s.status) desc
            limit 1) as status
    from public.orders o
    where o.occurred_at <= as_of.moment() and o.recorded_at <= as_of.known();

create view as_of.order_items as
    select i.order_id, o.customer_id, i.line, i.category, i.quantity, i.amount, i.currency, i.coupon_code, o.occurred_at
    from public.order_items i join public.orders o using (order_id)
    where o.occurred_at <= as_of.moment() and o.recorded_at <= as_of.known();

create view as_of.events as
    select event_id, customer_id, kind, occurred_at, recorded_at, data from public.events
    where occurred_at <= as_of.moment() and recorded_at <= as_of.known();

create view as_of.consents as
    select distinct on (customer_id, channel, purpose)
           customer_id, channel, purpose, is_granted, source, occurred_at, recorded_at
    from public.consents
    where occurred_at <= as_of.moment() and recorded_at <= as_of.known()
    order by customer_id, channel, purpose, occurred_at desc, consent_id desc;

create view as_of.suppressions as
    select distinct on (channel, address) channel, address, is_suppressed, reason, occurred_at, recorded_at
    from public.suppressions
    where occurred_at <= as_of.moment() and recorded_at <= as_of.known()
    order by channel, address, occurred_at desc, suppression_id desc;

-- An address we can write to, in one spelling, or null. Whether a mailbox exists only the provider can tell.
create function as_of.usable_email(email text) returns text language sql immutable
    as $$ select case when email ~ '^[^@[:space:],;<>"()]+@[^@[:space:],;<>"().]+([.][^@[:space:],;<>"().]+)+$'
                      then lower(email) end $$;

-- For each customer, channel and purpose: the address, or the first reason in the published order why not. Marketing
-- needs a granted consent, transactional messages only the absence of a withdrawn one.
create view as_of.reach as
    select c.customer_id, way.channel, purpose.purpose, way.address,
           case when exists (
                        select from (
                            select s.is_suppressed from public.suppressions s
                            where s.channel = way.channel and s.address = way.address
                              and s.occurred_at <= as_of.moment() and s.recorded_at <= as_of.known()
                            order by s.occurred_at desc, s.suppression_id desc limit 1) as latest
                        where latest.is_suppressed)
                    then 'suppressed'
                when not coalesce((
                        select k.is_granted from public.consents k
                        where k.customer_id = c.customer_id and k.channel = way.channel and k.purpose = purpose.purpose
                          and k.occurred_at <= as_of.moment() and k.recorded_at <= as_of.known()
                        order by k.occurred_at desc, k.consent_id desc limit 1), purpose.purpose = 'transactional')
                    then 'no_consent'
                when way.address is null then 'no_address'
           end as reason
    from as_of.customers c
    cross join lateral (values ('email', as_of.usable_email(c.email)), ('sms', c.phone)) as way (channel, address)
    cross join (values ('marketing'), ('transactional')) as purpose (purpose);

create view as_of.lunar_months as select lunar_year, month, is_leap, first_day, days from public.lunar_months;
create view as_of.event_kinds as select kind, title from public.event_kinds;
"""

# Audiences run as this role: it sees the views and nothing else. Roles belong to the whole server, so it may be there
# already; a company that lets nobody create roles makes it by hand (docs/decisions/0004).
READER = """
do $$
begin
    if not exists (select from pg_roles where rolname = 'retention_reader') then
        begin
            create role retention_reader nologin;
        exception when duplicate_object or unique_violation then null;
        end;
    end if;
    execute format('grant retention_reader to %I', current_user);
exception when insufficient_privilege then
    raise notice 'role retention_reader is missing: audiences will be refused until it is created';
end $$;
do $$
begin
    if exists (select from pg_roles where rolname = 'retention_reader') then
        grant usage on schema as_of to retention_reader;
        grant select on all tables in schema as_of to retention_reader;
    end if;
end $$;
"""


def lunar_months() -> list[dict]:
    """The months of the Chinese calendar, 1900 to 2100, from lunar_python."""
    rows = []
    for year in range(1900, 2101):
        for month in LunarYear.fromYear(year).getMonthsInYear():
            first = month.getFirstJulianDay()
            rows.append(
                {
                    "lunar_year": year,
                    "month": abs(month.getMonth()),
                    "is_leap": month.getMonth() < 0,
                    "first_day": _date_of(first),
                    "days": month.getDayCount(),
                }
            )
    return rows


def _date_of(julian_day: float) -> date:
    return date.fromordinal(int(julian_day + 0.5) - 1721425)


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("audit_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("journey", sa.Text(), nullable=True),
        sa.Column("cohort_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.PrimaryKeyConstraint("audit_id", name=op.f("pk_audit_log")),
        comment="Who did what to a journey, and why; append-only.",
    )
    op.create_table(
        "consents",
        sa.Column("consent_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("is_granted", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("occurred_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("purpose in ('marketing', 'transactional')", name=op.f("ck_consents_purpose_known")),
        sa.PrimaryKeyConstraint("consent_id", name=op.f("pk_consents")),
        comment="Fact: each time a customer granted or withdrew permission per channel and purpose; append-only, the latest counts.",
    )
    op.create_index(
        "ix_consents_latest", "consents", ["customer_id", "channel", "purpose", "occurred_at"], unique=False
    )
    op.create_table(
        "customer_history",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("birth_calendar", sa.Text(), nullable=True),
        sa.Column("birth_year", sa.SmallInteger(), nullable=True),
        sa.Column("birth_month", sa.SmallInteger(), nullable=True),
        sa.Column("birth_day", sa.SmallInteger(), nullable=True),
        sa.Column("birth_leap_month", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column(
            "attributes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("occurred_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("replaced_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "replaced_at", name=op.f("pk_customer_history")),
        comment="Fact: earlier states of a customer, valid from recorded_at until replaced_at (exclusive).",
    )
    op.create_table(
        "customers",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("birth_calendar", sa.Text(), nullable=True),
        sa.Column("birth_year", sa.SmallInteger(), nullable=True),
        sa.Column("birth_month", sa.SmallInteger(), nullable=True),
        sa.Column("birth_day", sa.SmallInteger(), nullable=True),
        sa.Column("birth_leap_month", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column(
            "attributes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("occurred_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("birth_calendar in ('solar', 'lunar')", name=op.f("ck_customers_birth_calendar_known")),
        sa.CheckConstraint("phone ~ '^\\+[1-9][0-9]{6,14}$'", name=op.f("ck_customers_phone_e164")),
        sa.CheckConstraint(
            "(birth_month is null) = (birth_day is null) and (birth_month is null) = (birth_calendar is null)",
            name=op.f("ck_customers_birthday_whole"),
        ),
        sa.CheckConstraint(
            "birth_month between 1 and 12 and birth_day between 1 and 31", name=op.f("ck_customers_birthday_possible")
        ),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("pk_customers")),
        comment="Fact: who the customers are, as last learned. A trigger moves what is replaced to customer_history.",
    )
    op.create_index("ix_customers_birthday", "customers", ["birth_calendar", "birth_month", "birth_day"], unique=False)
    op.create_table(
        "event_kinds",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_event_kinds")),
        comment="The registry of event kinds; an event of another kind is refused.",
    )
    op.create_table(
        "journey_versions",
        sa.Column("version_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("journey", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_journey_versions")),
        sa.UniqueConstraint("journey", "content_hash", name=op.f("uq_journey_versions_journey_content_hash")),
        comment="Every text a cohort ever ran on: content holds the files (path -> text) the version was built from.",
    )
    op.create_table(
        "lunar_months",
        sa.Column("lunar_year", sa.SmallInteger(), nullable=False),
        sa.Column("month", sa.SmallInteger(), nullable=False),
        sa.Column("is_leap", sa.Boolean(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("days", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lunar_year", "month", "is_leap", name=op.f("pk_lunar_months")),
        comment="The Chinese calendar 1900-2100: first_day is the solar date of each lunar month's first day.",
    )
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_orders")),
        comment="Fact: an order, at the moment it was placed. What became of it is in order_status.",
    )
    op.create_index("ix_orders_customer_id_occurred_at", "orders", ["customer_id", "occurred_at"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("outbox_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("html", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("encoding", sa.Text(), nullable=True),
        sa.Column("segments", sa.SmallInteger(), nullable=True),
        sa.Column("accepted_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("outbox_id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("message_id", name=op.f("uq_outbox_message_id")),
        comment="What would have gone out, to look at. Behaves like a provider: a message id is accepted once.",
    )
    op.create_table(
        "stops",
        sa.Column("stop_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("journey", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("stopped_by", sa.Text(), nullable=False),
        sa.Column("stopped_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("lifted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("stop_id", name=op.f("pk_stops")),
        comment="The kill switch: while a row stands (lifted_at is null) nothing of the journey is handed over.",
    )
    op.create_index(
        "uq_stops_standing",
        "stops",
        [sa.literal_column("coalesce(journey, '*')")],
        unique=True,
        postgresql_where=sa.text("lifted_at is null"),
    )
    op.create_table(
        "suppressions",
        sa.Column("suppression_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("is_suppressed", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("occurred_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("suppression_id", name=op.f("pk_suppressions")),
        comment="Fact: addresses we must not use, and when that was lifted; append-only, the latest counts.",
    )
    op.create_index("ix_suppressions_latest", "suppressions", ["channel", "address", "occurred_at"], unique=False)
    op.create_table(
        "cohorts",
        sa.Column("cohort_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("journey", sa.Text(), nullable=False),
        sa.Column("cohort_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("is_on_time", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("candidates", sa.Integer(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("settled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("mode = 'test' or not is_on_time", name=op.f("ck_cohorts_on_time_is_test")),
        sa.CheckConstraint("mode in ('live', 'test')", name=op.f("ck_cohorts_mode_known")),
        sa.CheckConstraint("status in ('held', 'open', 'settled')", name=op.f("ck_cohorts_status_known")),
        sa.ForeignKeyConstraint(["version_id"], ["journey_versions.version_id"], name=op.f("fk_cohorts_version_id")),
        sa.PrimaryKeyConstraint("cohort_id", name=op.f("pk_cohorts")),
        sa.UniqueConstraint("mode", "journey", "cohort_at", name=op.f("uq_cohorts_mode_journey_cohort_at")),
        comment="The customers who entered one journey at one scheduled moment; one Airflow run carries one cohort.",
    )
    op.create_table(
        "events",
        sa.Column("event_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("occurred_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("source_key", sa.Text(), nullable=True),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.ForeignKeyConstraint(["kind"], ["event_kinds.kind"], name=op.f("fk_events_kind")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events")),
        comment="Fact: everything a customer did besides ordering; append-only.",
    )
    op.create_index(
        "ix_events_customer_id_kind_occurred_at", "events", ["customer_id", "kind", "occurred_at"], unique=False
    )
    op.create_index(
        "uq_events_source_key",
        "events",
        ["source_key"],
        unique=True,
        postgresql_where=sa.text("source_key is not null"),
    )
    op.create_table(
        "order_items",
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=14, scale=2), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("coupon_code", sa.Text(), nullable=True),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_order_items_currency_iso4217")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_order_items_order_id")),
        sa.PrimaryKeyConstraint("order_id", "line", name=op.f("pk_order_items")),
        comment="Fact: what was bought. amount is the line's total in its currency, after discounts.",
    )
    op.create_index(
        "ix_order_items_coupon_code",
        "order_items",
        [sa.literal_column("upper(coupon_code)")],
        unique=False,
        postgresql_where=sa.text("coupon_code is not null"),
    )
    op.create_table(
        "order_status",
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("occurred_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status in ('placed', 'paid', 'delivered', 'cancelled', 'refunded')",
            name=op.f("ck_order_status_status_known"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_order_status_order_id")),
        sa.PrimaryKeyConstraint("order_id", "status", "occurred_at", name=op.f("pk_order_status")),
        comment="Fact: the history of an order's status; append-only.",
    )
    op.create_table(
        "batches",
        sa.Column("batch_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("cohort_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("wave", sa.SmallInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("planned_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("sending_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("done_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state in ('ready', 'sending', 'unknown', 'done', 'failed')", name=op.f("ck_batches_state_known")
        ),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.cohort_id"], name=op.f("fk_batches_cohort_id")),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_batches")),
        sa.UniqueConstraint(
            "cohort_id",
            "step",
            "channel",
            "wave",
            "ordinal",
            name=op.f("uq_batches_cohort_id_step_channel_wave_ordinal"),
        ),
        comment="The unit that is handed to a provider: committed as `sending` before the call. Its members never change.",
    )
    op.create_table(
        "enrollments",
        sa.Column("enrollment_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("cohort_id", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("journey", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("occurrence", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("is_eligible", sa.Boolean(), nullable=False),
        sa.Column("ineligible_reason", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("entered_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("is_eligible = (ineligible_reason is null)", name=op.f("ck_enrollments_eligible_or_why")),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.cohort_id"], name=op.f("fk_enrollments_cohort_id")),
        sa.PrimaryKeyConstraint("enrollment_id", name=op.f("pk_enrollments")),
        sa.UniqueConstraint("cohort_id", "customer_id", name=op.f("uq_enrollments_cohort_id_customer_id")),
        sa.UniqueConstraint(
            "mode",
            "journey",
            "customer_id",
            "occurrence",
            name=op.f("uq_enrollments_mode_journey_customer_id_occurrence"),
        ),
        comment="One customer in one cohort. entered_at is the cohort's moment; email and phone are those known then.",
    )
    op.create_index("ix_enrollments_customer_id", "enrollments", ["customer_id"], unique=False)
    op.create_index("ix_enrollments_email", "enrollments", ["mode", "journey", "email"], unique=False)
    op.create_index("ix_enrollments_phone", "enrollments", ["mode", "journey", "phone"], unique=False)
    op.create_table(
        "entry_refusals",
        sa.Column("refusal_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("cohort_id", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("journey", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("occurrence", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "reason in ('backlog', 'reenter_after', 'same_address', 'max_per_day')",
            name=op.f("ck_entry_refusals_reason_known"),
        ),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.cohort_id"], name=op.f("fk_entry_refusals_cohort_id")),
        sa.PrimaryKeyConstraint("refusal_id", name=op.f("pk_entry_refusals")),
        sa.UniqueConstraint(
            "mode",
            "journey",
            "customer_id",
            "occurrence",
            "reason",
            name=op.f("uq_entry_refusals_mode_journey_customer_id_occurrence_reason"),
        ),
        comment="Who the audience named and the journey did not take in, and why.",
    )
    op.create_table(
        "coupons",
        sa.Column("coupon_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("enrollment_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Numeric(precision=14, scale=2), nullable=False),
        sa.Column("valid_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state in ('reserved', 'issued', 'redeemed', 'expired', 'given_back')", name=op.f("ck_coupons_state_known")
        ),
        sa.ForeignKeyConstraint(
            ["enrollment_id"], ["enrollments.enrollment_id"], name=op.f("fk_coupons_enrollment_id")
        ),
        sa.PrimaryKeyConstraint("coupon_id", name=op.f("pk_coupons")),
        sa.UniqueConstraint("code", name=op.f("uq_coupons_code")),
        sa.UniqueConstraint("enrollment_id", "step", name=op.f("uq_coupons_enrollment_id_step")),
        comment="Personal codes. Reserved when the step is planned, issued when a provider accepted the message.",
    )
    op.create_table(
        "messages",
        sa.Column("message_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("enrollment_id", sa.BigInteger(), nullable=False),
        sa.Column("cohort_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("coupon_id", sa.BigInteger(), nullable=True),
        sa.Column("batch_id", sa.BigInteger(), nullable=True),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("not_before", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("not_after", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("planned_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "case decision when 'send' then reason is null and address is not null and locale is not null and batch_id is not null else reason is not null and batch_id is null end",
            name=op.f("ck_messages_decision_whole"),
        ),
        sa.CheckConstraint("decision in ('send', 'skip')", name=op.f("ck_messages_decision_known")),
        sa.CheckConstraint(
            "reason in ('holdout', 'stopped', 'retired', 'exited', 'goal_met', 'expired', 'not_needed', 'suppressed', 'no_consent', 'no_address', 'duplicate_address', 'frequency_cap', 'no_coupon')",
            name=op.f("ck_messages_reason_known"),
        ),
        sa.CheckConstraint("role in ('first', 'also', 'fallback', 'repeat')", name=op.f("ck_messages_role_known")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.batch_id"], name=op.f("fk_messages_batch_id")),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.cohort_id"], name=op.f("fk_messages_cohort_id")),
        sa.ForeignKeyConstraint(["coupon_id"], ["coupons.coupon_id"], name=op.f("fk_messages_coupon_id")),
        sa.ForeignKeyConstraint(
            ["enrollment_id"], ["enrollments.enrollment_id"], name=op.f("fk_messages_enrollment_id")
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_messages")),
        sa.UniqueConstraint(
            "enrollment_id", "step", "channel", "attempt", name=op.f("uq_messages_enrollment_id_step_channel_attempt")
        ),
        comment="One decision for one enrollment, step, channel and attempt: to send, or not and why. Inserted once.",
    )
    op.create_index(
        "ix_messages_batch_id", "messages", ["batch_id"], unique=False, postgresql_where=sa.text("batch_id is not null")
    )
    op.create_index("ix_messages_cohort_id_step", "messages", ["cohort_id", "step"], unique=False)
    op.create_index(
        "uq_messages_one_send",
        "messages",
        ["enrollment_id", "step"],
        unique=True,
        postgresql_where=sa.text("decision = 'send' and role = 'first'"),
    )
    op.create_table(
        "outcomes",
        sa.Column("outcome_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("occurred_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.message_id"], name=op.f("fk_outcomes_message_id")),
        sa.PrimaryKeyConstraint("outcome_id", name=op.f("pk_outcomes")),
        comment="What happened to a message; append-only.",
    )
    op.create_index("ix_outcomes_message_id", "outcomes", ["message_id"], unique=False)
    op.create_index(
        "uq_outcomes_handed_over",
        "outcomes",
        ["message_id"],
        unique=True,
        postgresql_where=sa.text("kind in ('accepted', 'withheld', 'refused')"),
    )

    op.execute(KEEP_HISTORY)
    op.execute(AS_OF)
    op.execute(READER)
    kinds = sa.table("event_kinds", sa.column("kind"), sa.column("title"))
    op.bulk_insert(kinds, [{"kind": kind, "title": title} for kind, title in EVENT_KINDS.items()])
    months = sa.table("lunar_months", *map(sa.column, ("lunar_year", "month", "is_leap", "first_day", "days")))
    op.bulk_insert(months, lunar_months())
