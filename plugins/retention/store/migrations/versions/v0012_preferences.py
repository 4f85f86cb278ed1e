"""Preferences: on which channel and at which hours somebody answers. And when they will buy next, for audiences."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"

INSTANT = postgresql.TIMESTAMP(timezone=True)

VIEWS = """
-- A share seen in few messages, drawn towards the shop's as if `strength` more had been sent that were answered as usual: the
-- mean of a beta-binomial. The one formula for choosing channels, here and in plans.
create function as_of.shrunken_rate(responses float8, sent float8, usual float8, strength float8)
returns float8 language sql immutable parallel safe as $$
    select (responses + strength * coalesce(usual, 0)) / (sent + strength)
$$;

-- The run of preferences that holds, and the whole shop's rates in it.
create view as_of.preference_runs as
    select as_of, strength, look_back_s, slot_hours
    from public.preference_runs
    where as_of <= as_of.moment() and known_at <= as_of.known()
    order by as_of desc
    limit 1;

create view as_of.preference_rates as
    select r.kind, r.option, r.sent, r.responses, r.rate, run.strength
    from as_of.preference_runs run
    join public.preference_rates r using (as_of);

-- Where and when each customer answers best; a row for everybody who has answered at all. hour is the first one of a slot of
-- slot_hours, in the customer's own zone.
create view as_of.customer_preferences as
    select p.customer_id, p.channel, p.channel_sent, p.channel_responses,
           as_of.shrunken_rate(p.channel_responses, p.channel_sent, c.rate, run.strength) as channel_rate,
           p.hour, p.hour_sent, p.hour_responses,
           as_of.shrunken_rate(p.hour_responses, p.hour_sent, h.rate, run.strength) as hour_rate,
           run.slot_hours, p.as_of as since
    from as_of.preference_runs run
    join (
        select distinct on (customer_id) *
        from public.customer_preferences
        where as_of in (select as_of from public.preference_runs
                        where as_of <= as_of.moment() and known_at <= as_of.known())
        order by customer_id, as_of desc
    ) as p on p.channel is not null
    left join public.preference_rates c on c.as_of = run.as_of and c.kind = 'channel' and c.option = p.channel
    left join public.preference_rates h on h.as_of = run.as_of and h.kind = 'hour' and h.option = lpad(p.hour::text, 2, '0');

-- When each customer will probably buy next in each category (docs/scores.md): three intervals of the category's own kind are
-- added to the customer's, and a category needs ten customers who bought again. Days are those of the journey's zone.
create view as_of.next_purchases as
    select customer_id, category, last_on, intervals, own_days, usual_days, days,
           last_on + greatest(1, round(days))::int as due_on
    from (
        select s.customer_id, s.category, s.last_on, s.intervals, s.median as own_days, c.days as usual_days,
               case when c.days is not null then (s.intervals * coalesce(s.median, 0) + 3 * c.days) / (s.intervals + 3)
                    when s.intervals >= 3 then s.median end as days
        from (
            select customer_id, category, max(day) as last_on, count(gap)::int as intervals,
                   percentile_cont(0.5) within group (order by gap) as median
            from (
                select customer_id, category, day,
                       day - lag(day) over (partition by customer_id, category order by day) as gap
                from (
                    select distinct i.customer_id, coalesce(i.category, p.category) as category,
                           (i.occurred_at at time zone as_of.zone())::date as day
                    from as_of.order_items i
                    left join as_of.products p using (product_id)
                    where i.quantity > 0 and i.amount >= 0 and coalesce(i.category, p.category) is not null
                      and not exists (
                          select from as_of.order_status s
                          where s.order_id = i.order_id and s.status in ('cancelled', 'refunded')
                            and not exists (
                                select from as_of.order_status later
                                where later.order_id = s.order_id and later.status not in ('cancelled', 'refunded')
                                  and later.occurred_at > s.occurred_at))
                ) as bought
            ) as gaps
            group by customer_id, category
        ) as s
        left join (
            select distinct on (category) category, customers, days
            from public.category_cycles
            where as_of <= as_of.moment() and known_at <= as_of.known()
            order by category, as_of desc
        ) as c on c.category = s.category and c.customers >= 10
    ) as drawn
    where days is not null;

do $$
begin
    if exists (select from pg_roles where rolname = 'retention_reader') then
        grant select on as_of.customer_preferences, as_of.next_purchases to retention_reader;
    end if;
end $$;
"""


def upgrade() -> None:
    op.create_table(
        "preference_runs",
        sa.Column("as_of", INSTANT, nullable=False),
        sa.Column("known_at", INSTANT, nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("strength", sa.Double(), nullable=False),
        sa.Column("look_back_s", sa.BigInteger(), nullable=False),
        sa.Column("slot_hours", sa.SmallInteger(), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.CheckConstraint("strength > 0 and slot_hours between 1 and 24", name=op.f("ck_preference_runs_possible")),
        sa.PrimaryKeyConstraint("as_of", name=op.f("pk_preference_runs")),
        comment="When preferences were worked out, by which rules, and how many customers' changed.",
    )
    op.create_table(
        "preference_rates",
        sa.Column("as_of", INSTANT, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("option", sa.Text(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("responses", sa.BigInteger(), nullable=False),
        sa.Column("rate", sa.Double(), nullable=False),
        sa.CheckConstraint("kind in ('channel', 'hour')", name=op.f("ck_preference_rates_kind_known")),
        sa.ForeignKeyConstraint(
            ["as_of"], ["preference_runs.as_of"], ondelete="CASCADE", name=op.f("fk_preference_rates_as_of_preference_runs")
        ),
        sa.PrimaryKeyConstraint("as_of", "kind", "option", name=op.f("pk_preference_rates")),
        comment="What share of its messages the whole shop answered, by channel and by slot of the day (its first hour).",
    )
    op.create_table(
        "customer_preferences",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("as_of", INSTANT, nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("channel_sent", sa.Integer(), nullable=True),
        sa.Column("channel_responses", sa.Integer(), nullable=True),
        sa.Column("hour", sa.SmallInteger(), nullable=True),
        sa.Column("hour_sent", sa.Integer(), nullable=True),
        sa.Column("hour_responses", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("customer_id", "as_of", name=op.f("pk_customer_preferences")),
        comment="The channel and the slot of the day somebody answers best in, with what they rest on, at the instants when "
        "that changed; append-only. Without a channel: has answered nothing any more.",
    )
    op.execute(VIEWS)
