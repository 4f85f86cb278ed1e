"""Scores: sums of each customer, cut points, tiers and their history."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"

INSTANT = postgresql.TIMESTAMP(timezone=True)

# Whole numbers are added up without a piece of memory for each customer, which sum(bigint) and sum(numeric) need; more than
# a bigint holds is an error.
SUM_UNITS = """
create aggregate sum_units(bigint) (sfunc = int8pl, stype = bigint, combinefunc = int8pl, parallel = safe)
"""

VIEWS = """
create view as_of.tiers as
    select customer_id, scheme, tier, previous, since
    from (
        select distinct on (customer_id, scheme) customer_id, scheme, tier, previous, since
        from public.tiers
        where since <= as_of.moment() and since <= as_of.known()
        order by customer_id, scheme, since desc
    ) as latest
    where tier is not null;

create view as_of.tier_changes as
    select customer_id, scheme, tier, previous, since
    from public.tiers
    where since <= as_of.moment() and since <= as_of.known();

do $$
begin
    if exists (select from pg_roles where rolname = 'retention_reader') then
        grant select on as_of.tiers, as_of.tier_changes to retention_reader;
    end if;
end $$;
"""


def upgrade() -> None:
    _make_tables()
    op.create_index("ix_orders_times", "orders", ["occurred_at", "recorded_at"], postgresql_using="brin")
    op.create_index("ix_orders_without_amount", "orders", ["order_id"], postgresql_where=sa.text("amount is null"))
    op.create_index(
        "ix_order_status_undone", "order_status", ["order_id", "occurred_at"],
        postgresql_where=sa.text("status in ('cancelled', 'refunded')"),
    )  # fmt: skip
    op.create_index("ix_order_status_times", "order_status", ["occurred_at", "recorded_at"], postgresql_using="brin")
    op.create_index("ix_order_items_recorded_at", "order_items", ["recorded_at"], postgresql_using="brin")
    op.create_index("ix_events_times", "events", ["occurred_at", "recorded_at"], postgresql_using="brin")
    op.execute(SUM_UNITS)
    op.execute(VIEWS)


def _make_tables() -> None:
    op.create_table(
        "score_runs",
        sa.Column("run_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("as_of", INSTANT, nullable=False),
        sa.Column("known_at", INSTANT, nullable=False),
        sa.Column("computed_at", INSTANT, nullable=False),
        sa.Column("is_rebuild", sa.Boolean(), nullable=False),
        sa.Column("config", postgresql.JSONB(), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("touched", sa.Integer(), nullable=False),
        sa.Column("moved", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_score_runs")),
        comment="Every time scores were worked out: as of when, known until when, by which rules, and how many customers "
        "were looked at again and moved to another tier.",
    )
    op.create_index("uq_score_runs_as_of", "score_runs", ["as_of"], unique=True)
    counts = ("logins", "views", "carts", "participations", "community")
    op.create_table(
        "customer_sums",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("first_order_at", INSTANT, nullable=True),
        sa.Column("last_order_at", INSTANT, nullable=True),
        sa.Column("orders", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Numeric(20, 4), nullable=False),
        sa.Column("orders_before", sa.Integer(), nullable=False),
        sa.Column("amount_before", sa.Numeric(20, 4), nullable=False),
        sa.Column("returns", sa.Integer(), nullable=False),
        sa.Column("unpriced_orders", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in counts),
        sa.Column("last_login_at", INSTANT, nullable=True),
        sa.Column("levels", sa.SmallInteger(), nullable=False),
        sa.Column("six", sa.Text(), nullable=True),
        sa.Column("shares", sa.Text(), nullable=True),
        sa.CheckConstraint("levels between 0 and 80", name=op.f("ck_customer_sums_levels_possible")),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("pk_customer_sums")),
        postgresql_with={"fillfactor": 75},
        comment="A row a customer, as of the latest run alone: sums over the windows, levels (recency, frequency, monetary, "
        "activity as digits to the base of 3) and tiers. The past is in tiers, and in the facts.",
    )
    op.create_table(
        "score_cuts",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("point", sa.Text(), nullable=False),
        sa.Column("cut", sa.Double(), nullable=True),
        sa.Column("kept", sa.Double(), nullable=True),
        sa.Column("is_inclusive", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["score_runs.run_id"], name=op.f("fk_score_cuts_run_id")),
        sa.PrimaryKeyConstraint("run_id", "dimension", "point", name=op.f("pk_score_cuts")),
        comment="The cut points of a run, null where there was nobody to cut. Who exceeds cut (or, if is_inclusive, "
        "reaches it) rises to the level or tier `point`; who was there stays down to kept. Recency in seconds since 1970.",
    )
    op.create_table(
        "tiers",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("tier", sa.Text(), nullable=True),
        sa.Column("previous", sa.Text(), nullable=True),
        sa.Column("levels", sa.SmallInteger(), nullable=True),
        sa.CheckConstraint("scheme in ('six', 'shares')", name=op.f("ck_tiers_scheme_known")),
        sa.CheckConstraint("tier is distinct from previous", name=op.f("ck_tiers_a_change")),
        sa.PrimaryKeyConstraint("customer_id", "scheme", "since", name=op.f("pk_tiers")),
        comment="Every change of tier, append-only: from `since` (the run's as_of) until the customer's next row. tier null: "
        "no longer scored. levels: those at the change.",
    )
    op.create_index(
        "ix_tiers_since", "tiers", ["since"], postgresql_using="brin", postgresql_with={"pages_per_range": "8"}
    )
