"""Privacy: months of messages and outcomes that can be dropped, and what stays of people who were erased."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

MONTHS = """
create schema months;
alter table messages set schema months;
alter table outcomes set schema months;
alter sequence if exists months.messages_message_id_seq rename to old_messages_seq;
alter sequence if exists months.outcomes_outcome_id_seq rename to old_outcomes_seq;

create table messages (like months.messages including defaults including constraints) partition by range (enrollment_id);
create table outcomes (like months.outcomes including defaults including constraints) partition by range (message_id);
comment on table messages is
    'One decision for one enrollment, step, channel and attempt: to send, or not and why. Inserted once. A part a month.';
comment on table outcomes is
    'What happened to a message; append-only. segments are those of an accepted SMS. is_machine: a program opened or clicked, '
    'not a person; may become true later, when a later event shows it. A part a month.';
alter table messages alter message_id add generated always as identity;
alter table outcomes alter outcome_id add generated always as identity;

alter table messages
    add constraint pk_messages primary key (enrollment_id, message_id),
    add constraint uq_messages_enrollment_id_step_channel_attempt unique (enrollment_id, step, channel, attempt),
    add constraint fk_messages_enrollment_id foreign key (enrollment_id) references enrollments,
    add constraint fk_messages_cohort_id foreign key (cohort_id) references cohorts,
    add constraint fk_messages_coupon_id foreign key (coupon_id) references coupons,
    add constraint fk_messages_batch_id foreign key (batch_id) references batches;
create unique index uq_messages_one_send on messages (enrollment_id, step) where decision = 'send' and role = 'first';
create index ix_messages_message_id on messages (message_id);
create index ix_messages_cohort_id_step on messages (cohort_id, step);
create index ix_messages_batch_id on messages (batch_id) where batch_id is not null;
alter table outcomes add constraint pk_outcomes primary key (message_id, outcome_id);
create unique index uq_outcomes_event_key on outcomes (message_id, event_key) where event_key is not null;
create unique index uq_outcomes_handed_over on outcomes (message_id) where kind in ('accepted', 'withheld', 'refused');
create unique index uq_outcomes_unknown on outcomes (message_id) where kind = 'unknown';

create table months.messages_before partition of messages for values from (minvalue) to (4294967296);
create table months.outcomes_before partition of outcomes for values from (minvalue) to (4294967296);
insert into messages overriding system value select * from months.messages;
insert into outcomes overriding system value select * from months.outcomes;
select setval('messages_message_id_seq', greatest((select max(message_id) from messages), 1));
select setval('outcomes_outcome_id_seq', greatest((select max(outcome_id) from outcomes), 1));
drop table months.outcomes;
drop table months.messages;
"""


def upgrade() -> None:
    op.execute(MONTHS)
    _make_erasures()


def _make_erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("erasure_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("erased_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind in ('key', 'customer', 'email', 'phone', 'order')", name=op.f("ck_erasures_kind_known")
        ),
        sa.PrimaryKeyConstraint("erasure_id", name=op.f("pk_erasures")),
        sa.UniqueConstraint("kind", "digest", name=op.f("uq_erasures_kind_digest")),
        comment="Who was erased, as keyed digests of their ids and addresses: a load refuses what has one. The row of kind key "
        "tells whether the key in use is the one they were made with. Deleted when somebody is let in again.",
    )
    op.create_index("ix_erasures_person", "erasures", ["person"])
    op.create_table(
        "month_counts",
        sa.Column("count_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("journey", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("mode in ('live', 'test')", name=op.f("ck_month_counts_mode_known")),
        sa.PrimaryKeyConstraint("count_id", name=op.f("pk_month_counts")),
        comment="What is left of a month of messages that was dropped: how many were decided (send, skip) and how many had "
        "each kind of outcome (of people, not of machines).",
    )
    op.create_index("ix_month_counts_month", "month_counts", ["month"])
