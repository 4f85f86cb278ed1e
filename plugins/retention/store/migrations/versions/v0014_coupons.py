"""Coupons of every kind, pools of uploaded codes, and which orders used them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0012"

INSTANT = postgresql.TIMESTAMP(timezone=True)

# What a code is to whoever compares it: full-width letters are letters, case and marks between them are nothing, and O is 0,
# I is 1. No two codes that are out share a key, so that a code may be typed as badly as that.
KEY = """
create function coupon_key(code text) returns text language sql immutable strict parallel safe as $$
    select translate(regexp_replace(upper(normalize(code, NFKC)), '[^A-Z0-9]', '', 'g'), 'OI', '01')
$$
"""


def upgrade() -> None:
    op.execute(KEY)
    op.drop_index("ix_order_items_coupon_code", "order_items")
    _index_key("ix_order_items_coupon_code", "order_items", "coupon_key(coupon_code)", "coupon_code is not null")
    _index_key(
        "ix_order_item_history_coupon_code", "order_item_history", "coupon_key(coupon_code)", "coupon_code is not null"
    )
    _change_coupons()
    op.create_table(
        "pool_codes",
        sa.Column("code_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("valid_until", INSTANT, nullable=True),
        sa.Column("added_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("code_id", name=op.f("pk_pool_codes")),
        comment="Uploaded codes that nobody has yet. A plan moves them to coupons; what is given back comes back.",
    )
    op.create_index("uq_pool_codes_key", "pool_codes", [sa.literal_column("coupon_key(code)")], unique=True)
    op.create_index("ix_pool_codes_pool", "pool_codes", ["pool", "valid_until", "code_id"])
    op.create_table(
        "coupon_uses",
        sa.Column("coupon_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("is_shared", sa.Boolean(), nullable=False),
        sa.Column("cost", sa.Numeric(18, 4), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "verdict in ('counted', 'late', 'again', 'undone')", name=op.f("ck_coupon_uses_verdict_known")
        ),
        sa.ForeignKeyConstraint(
            ["coupon_id"], ["coupons.coupon_id"], name=op.f("fk_coupon_uses_coupon_id"), ondelete="cascade"
        ),
        sa.PrimaryKeyConstraint("coupon_id", "order_id", name=op.f("pk_coupon_uses")),
        comment="Which orders a coupon's code stands on: the first in time is counted. Worked out anew from orders, as of an "
        "instant; cost is what the shop gave away, null where nobody can tell.",
    )
    op.create_index(
        "uq_coupon_uses_counted",
        "coupon_uses",
        ["coupon_id"],
        unique=True,
        postgresql_where=sa.text("verdict = 'counted'"),
    )
    op.create_index("ix_coupon_uses_order_id", "coupon_uses", ["order_id"])
    op.create_table(
        "coupon_matches",
        sa.Column("match_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("as_of", INSTANT, nullable=False),
        sa.Column("matched_at", INSTANT, nullable=False),
        sa.Column("is_whole", sa.Boolean(), nullable=False),
        sa.Column("looked_at", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("match_id", name=op.f("pk_coupon_matches")),
        comment="Every time coupons were held against orders: as of when, how many were looked at and changed.",
    )


def _index_key(name: str, table: str, expression: str, where: str | None = None, unique: bool = False) -> None:
    op.create_index(
        name, table, [sa.literal_column(expression)], unique=unique, postgresql_where=sa.text(where) if where else None
    )


def _change_coupons() -> None:
    op.drop_constraint("uq_coupons_code", "coupons")
    op.create_table_comment(
        "coupons",
        "Personal codes. Reserved when the step is planned, issued when a provider accepted the message. An order counts "
        "until counts_until: valid_until and the grace that the journey allows.",
    )
    for column in (
        sa.Column("pool", sa.Text(), nullable=True),
        sa.Column("pool_until", INSTANT, nullable=True),
        sa.Column("minimum", sa.Numeric(14, 2), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("gift", postgresql.JSONB(), nullable=True),
        sa.Column("counts_until", INSTANT, nullable=True),
        sa.Column("reserved_at", INSTANT, nullable=True),
    ):
        op.add_column("coupons", column)
    op.execute("update coupons set counts_until = valid_until, reserved_at = state_at")
    op.alter_column("coupons", "counts_until", nullable=False)
    op.alter_column("coupons", "reserved_at", nullable=False)
    op.alter_column("coupons", "value", nullable=True)
    op.create_check_constraint("kind_known", "coupons", "kind in ('percent_off', 'amount_off', 'gift', 'points')")
    op.create_check_constraint("value_or_gift", "coupons", "value is not null or kind = 'gift'")
    op.create_check_constraint("gift_named", "coupons", "(gift is not null) = (kind = 'gift')")
    _index_key("uq_coupons_key", "coupons", "coupon_key(code)", "state <> 'given_back'", unique=True)
    op.create_index("ix_coupons_pool", "coupons", ["pool", "reserved_at"], postgresql_where=sa.text("pool is not null"))
    op.create_index(
        "ix_coupons_open", "coupons", ["counts_until"], postgresql_where=sa.text("state in ('reserved', 'issued')")
    )
    op.create_index("ix_coupons_reserved_at", "coupons", ["reserved_at"], postgresql_using="brin")
