"""What comes back: events of providers and shops, links."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

SOURCES = "source in ('sendgrid', 'twilio_status', 'twilio_message', 'shop')"


def upgrade() -> None:
    _make_inbox()
    _extend_outcomes()
    _make_links()
    # Who leaves, leaves under every id that has the address; addresses of messages are in small letters.
    email, is_there = sa.text("lower(email)"), sa.text("email is not null")
    op.create_index("ix_customers_email", "customers", [email], postgresql_where=is_there)
    op.create_index("ix_customers_phone", "customers", ["phone"], postgresql_where=sa.text("phone is not null"))


def _instant(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, postgresql.TIMESTAMP(timezone=True), nullable=nullable)


def _make_inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("inbox_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _instant("received_at"),
        _instant("interpreted_at", nullable=True),
        _instant("retry_at", nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("events", sa.Integer(), nullable=True),
        sa.Column("fresh", sa.Integer(), nullable=True),
        sa.Column("odd", sa.Integer(), nullable=True),
        sa.CheckConstraint(SOURCES, name=op.f("ck_inbox_source_known")),
        sa.PrimaryKeyConstraint("inbox_id", name=op.f("pk_inbox")),
        comment="Verified requests, byte for byte, committed before they are answered and understood afterwards: events in "
        "it, those that were new (fresh), and those kept in odd_events. Bodies hold addresses and texts.",
    )
    # A quarter of the default's cost, where the server was built with it.
    op.execute(
        "do $$ begin alter table inbox alter body set compression lz4;"
        " exception when feature_not_supported then null; end $$"
    )
    op.create_index("ix_inbox_waiting", "inbox", ["inbox_id"], postgresql_where=sa.text("interpreted_at is null"))
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"])
    op.create_table(
        "odd_events",
        sa.Column("odd_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_key", sa.BigInteger(), nullable=False),
        sa.Column("inbox_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("word", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        _instant("recorded_at"),
        sa.CheckConstraint(SOURCES, name=op.f("ck_odd_events_source_known")),
        sa.PrimaryKeyConstraint("odd_id", name=op.f("pk_odd_events")),
        sa.UniqueConstraint("source", "event_key", name=op.f("uq_odd_events_source_event_key")),
        comment="Events that became nothing, and why: the event is at that position (from 0) of its request in inbox. word "
        "is the sender's own for its kind.",
    )
    op.create_index("ix_odd_events_inbox_id", "odd_events", ["inbox_id"])
    op.create_table(
        "replies",
        sa.Column("reply_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("meaning", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        _instant("occurred_at"),
        _instant("recorded_at"),
        sa.CheckConstraint("meaning in ('stop', 'start', 'reply')", name=op.f("ck_replies_meaning_known")),
        sa.PrimaryKeyConstraint("reply_id", name=op.f("pk_replies")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_replies_provider_id")),
        comment="What people wrote back, word for word; message_id is the newest message to that address then, if there is "
        "one.",
    )
    op.create_index("ix_replies_address", "replies", ["channel", "address", "occurred_at"])
    op.create_index(
        "ix_replies_message_id", "replies", ["message_id"], postgresql_where=sa.text("message_id is not null")
    )


def _extend_outcomes() -> None:
    op.add_column("outcomes", sa.Column("event_key", sa.BigInteger(), nullable=True))
    op.add_column("outcomes", sa.Column("link_id", sa.BigInteger(), nullable=True))
    op.add_column("outcomes", sa.Column("link_key", sa.BigInteger(), nullable=True))
    op.add_column("outcomes", sa.Column("is_machine", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index(
        "uq_outcomes_event_key",
        "outcomes",
        ["message_id", "event_key"],
        unique=True,
        postgresql_where=sa.text("event_key is not null"),
    )
    op.create_table_comment(
        "outcomes",
        "What happened to a message; append-only. segments are those of an accepted SMS. is_machine: a program opened "
        "or clicked, not a person; may become true later, when a later event shows it.",
    )


def _make_links() -> None:
    op.create_table(
        "links",
        sa.Column("link_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("link_id", name=op.f("pk_links")),
        sa.UniqueConstraint("url", name=op.f("uq_links_url")),
        comment="Where links of messages lead. {coupon.code} in it stands for the customer's own code.",
    )
