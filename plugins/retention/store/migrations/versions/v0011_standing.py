"""Churn, the seven dimensions of value, strata: what is kept of each customer, and what audiences see."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0009"

INSTANT = postgresql.TIMESTAMP(timezone=True)
TOLD = (
    "kind in ('referral', 'review', 'answer', 'participation', 'community', 'survey', 'suggestion', "
    "'complaint_opened', 'complaint_solved')"
)

# How much of an indicator counts: nothing up to begins, all from "full" on, evenly in between; of no data nothing is said.
RAMP = """
create function ramp(value float8, begins float8, "full" float8) returns float8 language sql immutable parallel safe as $$
    select case when value is not null then least(1.0, greatest(0.0, (value - begins) / ("full" - begins))) end
$$
"""

# Points of 0 to 100: how many steps of a scale a value reaches; of a scale that nobody is on nothing is said.
POINTS = """
create function points_on(value float8, scale float8[]) returns float8 language sql immutable parallel safe as $$
    select case when scale is not null then coalesce(width_bucket(value, scale), 0)::float8 end
$$
"""

VIEWS = """
create view as_of.churn as
    select customer_id, state, previous, since, score, overdue, no_login, no_response, complaints, undone
    from (
        select distinct on (customer_id) *
        from public.churn
        where since <= as_of.moment() and since <= as_of.known()
        order by customer_id, since desc
    ) as latest
    where state is not null;

create view as_of.churn_changes as
    select customer_id, state, previous, since, score, overdue, no_login, no_response, complaints, undone
    from public.churn
    where since <= as_of.moment() and since <= as_of.known();

create view as_of.customer_points as
    select customer_id, points, purchases, referrals, advocacy, answers, participation, surveys, suggestions, since
    from (
        select distinct on (customer_id) *
        from public.customer_points
        where since <= as_of.moment() and since <= as_of.known()
        order by customer_id, since desc
    ) as latest
    where points is not null;

create view as_of.strata as
    select customer_id, stratum, previous, basis, value, since
    from (
        select distinct on (customer_id) *
        from public.strata
        where since <= as_of.moment() and since <= as_of.known()
        order by customer_id, since desc
    ) as latest
    where stratum is not null;

create view as_of.strata_changes as
    select customer_id, stratum, previous, basis, value, since
    from public.strata
    where stratum is distinct from previous and since <= as_of.moment() and since <= as_of.known();

do $$
begin
    if exists (select from pg_roles where rolname = 'retention_reader') then
        grant select on as_of.churn, as_of.churn_changes, as_of.customer_points, as_of.strata, as_of.strata_changes
            to retention_reader;
    end if;
end $$;
"""


def upgrade() -> None:
    _make_runs()
    _make_churn()
    _make_points()
    _make_strata()
    for table in ("churn", "customer_points", "strata"):
        op.create_index(
            f"ix_{table}_since", table, ["since"], postgresql_using="brin", postgresql_with={"pages_per_range": "8"}
        )
    # Few among many views and logins, and all of them count, however old.
    op.create_index("ix_events_told", "events", ["kind", "customer_id", "occurred_at"], postgresql_where=sa.text(TOLD))
    op.execute(RAMP)
    op.execute(POINTS)
    op.execute(VIEWS)


def _make_runs() -> None:
    op.create_table(
        "standing_runs",
        sa.Column("score", sa.Text(), nullable=False),
        *(sa.Column(name, INSTANT, nullable=False) for name in ("as_of", "known_at", "computed_at")),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("config", postgresql.JSONB(), nullable=False),
        sa.Column("found", postgresql.JSONB(), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("moved", sa.Integer(), nullable=False),
        sa.CheckConstraint("score in ('churn', 'points', 'strata')", name=op.f("ck_standing_runs_score_known")),
        sa.PrimaryKeyConstraint("score", "as_of", name=op.f("pk_standing_runs")),
        comment="Every time churn, points or strata were worked out: by which rules, what was found of everybody (cut points, "
        "what had no data), how many customers have the score and how many rows were written.",
    )


def _make_churn() -> None:
    op.create_table(
        "churn",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("previous", sa.Text(), nullable=True),
        *(
            sa.Column(name, sa.REAL(), nullable=True)
            for name in ("score", "overdue", "no_login", "no_response", "complaints", "undone")
        ),
        sa.CheckConstraint("state in ('active', 'warning', 'churned')", name=op.f("ck_churn_state_known")),
        sa.CheckConstraint("state is distinct from previous", name=op.f("ck_churn_a_change")),
        sa.CheckConstraint("(state is null) = (score is null)", name=op.f("ck_churn_whole")),
        sa.PrimaryKeyConstraint("customer_id", "since", name=op.f("pk_churn")),
        comment="Every change of the state of churn, append-only: from `since` (the run's as_of) until the customer's next row. "
        "state null: no longer scored. score and what each indicator adds to it are those at the change; null: no data.",
    )


def _make_points() -> None:
    dimensions = ("purchases", "referrals", "advocacy", "answers", "participation", "surveys", "suggestions")
    op.create_table(
        "customer_points",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        *(sa.Column(name, sa.REAL(), nullable=True) for name in ("points", *dimensions)),
        sa.PrimaryKeyConstraint("customer_id", "since", name=op.f("pk_customer_points")),
        comment="Points of value, 0 to 100, together and by dimension (null: nobody has any), append-only: written when one "
        "moved by the dead band. points null: no longer a customer.",
    )


def _make_strata() -> None:
    op.create_table(
        "strata",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("stratum", sa.SmallInteger(), nullable=True),
        sa.Column("previous", sa.SmallInteger(), nullable=True),
        sa.Column("basis", sa.Text(), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.CheckConstraint("stratum between 1 and 5", name=op.f("ck_strata_stratum_known")),
        sa.CheckConstraint("basis in ('lifetime_value', 'purchases', 'past_year')", name=op.f("ck_strata_basis_known")),
        sa.CheckConstraint("(stratum is null) = (basis is null)", name=op.f("ck_strata_whole")),
        sa.PrimaryKeyConstraint("customer_id", "since", name=op.f("pk_strata")),
        comment="Every change of stratum (1 is the best) or of its basis, append-only. value: what was expected at the change. "
        "stratum null: no longer in one.",
    )
