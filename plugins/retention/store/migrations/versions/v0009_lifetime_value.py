"""Lifetime value: fitted models and what they say of each customer."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"

# The closed form of BG/NBD; who never bought again had no occasion to leave. Days, as whole numbers; parameters in weeks.
VIEWS = """
create function as_of.p_alive(frequency integer, recency integer, age integer,
                              r float8, alpha float8, a float8, b float8)
returns float8 language sql immutable parallel safe as $$
    select case when frequency = 0 then 1.0 else
        1 / (1 + exp(least(500, ln(a / (b + frequency - 1))
                                + (r + frequency) * (ln(alpha + age / 7.0::float8) - ln(alpha + recency / 7.0::float8)))))
    end
$$;

-- What is expected of each customer, as of the moment: p_alive is that of the day, and the rest, worked out for the next 12
-- months when the row was written, goes with it. Customers without a purchase have no row.
create view as_of.customer_values as
    select v.customer_id, v.frequency, v.first_on, v.last_on, v.alive as p_alive, v.purchases * v.fade as purchases, v.currency,
           v.spend, v.value * v.fade as value, v.as_of as computed_at, v.purchase_model_id
    from (
        select w.customer_id, w.frequency, w.first_on, w.last_on, w.purchases, w.currency, w.spend, w.value, w.as_of,
               run.purchase_model_id, today.p_alive as alive, today.p_alive / w.p_alive as fade
        from (
            select distinct on (c.customer_id) c.*
            from public.customer_values c
            where c.as_of <= as_of.moment()
              and c.as_of >= (select max(as_of) from public.value_runs
                              where is_full and as_of <= as_of.moment() and known_at <= as_of.known())
              and c.as_of in (select as_of from public.value_runs where known_at <= as_of.known())
            order by c.customer_id, c.as_of desc
        ) as w
        join public.value_runs run on run.as_of = w.as_of
        join public.purchase_models m on m.model_id = run.purchase_model_id
        cross join lateral (
            select as_of.p_alive(w.frequency, w.last_on - w.first_on,
                                 (as_of.moment() at time zone run.zone)::date - w.first_on, m.r, m.alpha, m.a, m.b)
        ) as today (p_alive)
        where w.frequency is not null
    ) as v;

do $$
begin
    if exists (select from pg_roles where rolname = 'retention_reader') then
        grant select on as_of.customer_values to retention_reader;
    end if;
end $$;
"""


def upgrade() -> None:
    _make_models()
    _make_values()
    op.execute(VIEWS)


def _instant(name: str) -> sa.Column:
    return sa.Column(name, postgresql.TIMESTAMP(timezone=True), nullable=False)


def _numbers(*names: str) -> list[sa.Column]:
    return [sa.Column(name, sa.Double(), nullable=True) for name in names]


def _make_models() -> None:
    op.create_table(
        "purchase_models",
        sa.Column("model_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        _instant("as_of"),
        _instant("known_at"),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("repeaters", sa.Integer(), nullable=False),
        *_numbers("r", "alpha", "a", "b", "log_likelihood"),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "refusal is not null or num_nulls(r, alpha, a, b, log_likelihood) = 0",
            name=op.f("ck_purchase_models_whole"),
        ),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_purchase_models")),
        sa.UniqueConstraint("as_of", name=op.f("uq_purchase_models_as_of")),
        comment="Fits of BG/NBD to the purchases known at an instant, time in weeks. refusal says why one must not be used; "
        "then the last one without it goes on.",
    )
    op.create_table(
        "spend_models",
        sa.Column("model_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        _instant("as_of"),
        _instant("known_at"),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        *_numbers("correlation", "p", "q", "v", "log_likelihood"),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "refusal is not null or num_nulls(p, q, v, log_likelihood) = 0", name=op.f("ck_spend_models_whole")
        ),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_spend_models")),
        sa.UniqueConstraint("as_of", "currency", name=op.f("uq_spend_models_as_of_currency")),
        comment="Fits of Gamma-Gamma to the mean amounts of repeat purchases in one currency. correlation is that of their "
        "number with their mean. refusal says why one must not be used.",
    )


def _make_values() -> None:
    op.create_table(
        "value_runs",
        _instant("as_of"),
        _instant("known_at"),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("purchase_model_id", sa.BigInteger(), nullable=False),
        sa.Column("spend_model_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("discount_rate", sa.Double(), nullable=False),
        sa.Column("is_full", sa.Boolean(), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", name=op.f("pk_value_runs")),
        sa.ForeignKeyConstraint(
            ["purchase_model_id"],
            ["purchase_models.model_id"],
            name=op.f("fk_value_runs_purchase_model_id_purchase_models"),
        ),
        comment="When customer_values was written, and by which models: everybody (is_full), or those whose facts had "
        "changed.",
    )
    op.create_table(
        "customer_values",
        sa.Column("customer_id", sa.Text(), nullable=False),
        _instant("as_of"),
        sa.Column("frequency", sa.Integer(), nullable=True),
        sa.Column("first_on", sa.Date(), nullable=True),
        sa.Column("last_on", sa.Date(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("spend_days", sa.Integer(), nullable=True),
        *_numbers("mean_spend", "share", "p_alive", "purchases", "spend", "value"),
        sa.PrimaryKeyConstraint("customer_id", "as_of", name=op.f("pk_customer_values")),
        comment="What was expected of a customer in the next 12 months, at the instants when it was written; append-only. "
        "Valid until the customer's next row or the next full run. Without a frequency: nothing bought, or nothing any more.",
    )
    op.create_index("ix_customer_values_as_of", "customer_values", ["as_of"])
    op.create_table(
        "category_cycles",
        _instant("as_of"),
        sa.Column("category", sa.Text(), nullable=False),
        _instant("known_at"),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("days", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "category", name=op.f("pk_category_cycles")),
        comment="The usual interval between two purchases in a category, as of an instant, and of how many customers.",
    )
    op.create_table(
        "score_calibrations",
        sa.Column("score", sa.Text(), nullable=False),
        _instant("as_of"),
        _instant("until_at"),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("positives", sa.Integer(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("foretold", sa.Integer(), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.Column("deciles", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("score", "as_of", "until_at", "threshold", name=op.f("pk_score_calibrations")),
        comment="How right a score as of an instant was, by what happened until another: over time, one row a look.",
    )
