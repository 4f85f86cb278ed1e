"""Delivery by real providers: their accounts' shared state, doubts message by message, paid segments."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "provider_accounts",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("next_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("blocked_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("open_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("openings", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("used_on", sa.Date(), nullable=True),
        sa.Column("used", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_provider_accounts")),
        comment="What all workers share about an account with a provider: the next free moment of its rate, its pauses "
        "(asked for, or a circuit that opened after failures), the segments of the day. Instants by the database's clock.",
    )
    op.create_table_comment(
        "outcomes", "What happened to a message; append-only. segments are those of an accepted SMS."
    )
    op.add_column("outcomes", sa.Column("segments", sa.SmallInteger(), nullable=True))
    op.create_index(
        "uq_outcomes_unknown",
        "outcomes",
        ["message_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'unknown'"),
    )
    op.add_column("batches", sa.Column("in_doubt", sa.Integer(), server_default=sa.text("0"), nullable=False))
    # A look-up and a row lock in messages for every row that is appended cost more than the appending.
    op.drop_constraint("fk_outcomes_message_id", "outcomes", type_="foreignkey")
    op.drop_index("ix_outcomes_message_id", "outcomes")
    op.drop_constraint("pk_outcomes", "outcomes", type_="primary")
    op.create_primary_key("pk_outcomes", "outcomes", ["message_id", "outcome_id"])
    # Batches that were in doubt as a whole: every message of theirs without an answer is.
    op.execute(
        "insert into outcomes (message_id, kind, reason, occurred_at, recorded_at)"
        " select m.message_id, 'unknown', 'no answer', coalesce(b.sending_at, b.planned_at),"
        "        coalesce(b.sending_at, b.planned_at)"
        " from messages m join batches b using (batch_id) where b.state = 'unknown' and not exists ("
        "     select from outcomes o where o.message_id = m.message_id"
        "       and o.kind in ('accepted', 'withheld', 'refused'))"
    )
    op.execute(
        "update batches b set in_doubt = (select count(*) from messages m join outcomes u using (message_id)"
        "    where m.batch_id = b.batch_id and u.kind = 'unknown') where b.state = 'unknown'"
    )
