"""The rules of contact: choices of customers, claimed contacts, steps to come, hours of batches, four channels."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

VIEWS = """
create view as_of.choices as
    select customer_id, subject, is_granted, source, occurred_at, recorded_at
    from public.choices
    where occurred_at <= as_of.moment() and recorded_at <= as_of.known();

create or replace view as_of.reach as
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
    cross join lateral (values ('email', as_of.usable_email(c.email)), ('sms', c.phone), ('whatsapp', c.phone),
                               ('webhook', c.customer_id)) as way (channel, address)
    cross join (values ('marketing'), ('transactional')) as purpose (purpose);

do $$
begin
    if exists (select from pg_roles where rolname = 'retention_reader') then
        grant select on as_of.choices to retention_reader;
    end if;
end $$;
"""

TELL_STOPS = """
create function public.tell_stop() returns trigger language plpgsql as $$
begin
    perform pg_notify('retention_stops', coalesce(new.journey, '*'));
    return null;
end $$;

create trigger tell_stop after insert on public.stops for each row execute function public.tell_stop();
"""

REASONS = (
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


def upgrade() -> None:
    op.create_table(
        "choices",
        sa.Column("choice_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("is_granted", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("wording", sa.Text(), nullable=True),
        sa.Column("occurred_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "subject in ('profiling', 'abroad') or subject like 'topic:_%'", name=op.f("ck_choices_subject_known")
        ),
        sa.PrimaryKeyConstraint("choice_id", name=op.f("pk_choices")),
        comment="Fact: what a customer chose besides consent to a channel: topics (topic:<id>), to be profiled, data abroad; "
        "append-only, the latest counts. wording is what they were shown.",
    )
    op.create_index("ix_choices_latest", "choices", ["customer_id", "subject", "occurred_at"])
    op.create_table(
        "cohort_steps",
        sa.Column("cohort_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("not_after", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("purpose in ('marketing', 'transactional')", name=op.f("ck_cohort_steps_purpose_known")),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.cohort_id"], name=op.f("fk_cohort_steps_cohort_id")),
        sa.PrimaryKeyConstraint("cohort_id", "step", name=op.f("pk_cohort_steps")),
        comment="When each step of a cohort is due, and until when it may go out: other journeys ask whose turn it is.",
    )
    op.create_index("ix_cohort_steps_due_at", "cohort_steps", ["due_at"])
    op.create_table(
        "contact_slots",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("nth", sa.SmallInteger(), nullable=False),
        sa.Column("journey", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("enrollment_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.CheckConstraint("nth > 0", name=op.f("ck_contact_slots_nth_positive")),
        sa.CheckConstraint("mode in ('live', 'test')", name=op.f("ck_contact_slots_mode_known")),
        sa.PrimaryKeyConstraint("customer_id", "mode", "day", "nth", name=op.f("pk_contact_slots")),
        comment="Contacts that count for caps, each claimed before it is planned: the nth of a customer on a day of their own "
        "zone. Given back when the contact does not take place.",
    )
    op.add_column("consents", sa.Column("wording", sa.Text(), nullable=True))
    op.add_column("batches", sa.Column("not_before", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("batches", sa.Column("zone", sa.Text(), nullable=True))
    op.add_column("batches", sa.Column("opens", sa.Time(), nullable=True))
    op.add_column("batches", sa.Column("closes", sa.Time(), nullable=True))
    op.create_table_comment(
        "batches",
        "The unit that is handed to a provider: committed as `sending` before the call. Its members never change. Not "
        "handed over before not_before, nor outside opens..closes in its members' zone.",
    )
    op.drop_constraint("ck_messages_reason_known", "messages")
    listed = ", ".join(f"'{reason}'" for reason in REASONS)
    op.execute(f"alter table messages add constraint ck_messages_reason_known check (reason in ({listed})) not valid")
    op.execute("alter table messages validate constraint ck_messages_reason_known")
    op.execute(VIEWS)
    op.execute(TELL_STOPS)
