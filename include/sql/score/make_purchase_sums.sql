-- Sum up each customer's purchases as of an instant, into the temporary table purchase_sums (a row a customer who ever
-- bought): what BG/NBD and Gamma-Gamma are fitted to and told. :customers null is everybody.
-- As in the literature all orders of one day (of :zone) are one purchase, and the first day is no repeat. What was cancelled or
-- refunded is no purchase. Nor is an order with an amount below zero, a credit: it is taken off what its customer spent on
-- repeat purchases. An order without an amount, or of zero, is a purchase; only the former's amount is unknown.
-- Amounts of different currencies never meet: a customer's currency is the one of most of the days bought in (then of the
-- latest, then by name), spend_days and mean_spend are of repeat purchases in it, share is its part of all days with a
-- known amount. mean_spend is null where credits leave nothing.
create temporary table purchase_sums on commit drop as
with known_orders as not materialized (
    select order_id, customer_id, occurred_at, amount, currency
    from orders
    where occurred_at <= :as_of and recorded_at <= :known_at
      and (cast(:customers as text[]) is null or customer_id = any(cast(:customers as text[])))
    union all
    select order_id, customer_id, occurred_at, amount, currency
    from order_history
    where occurred_at <= :as_of and recorded_at <= :known_at and replaced_at > :known_at
      and (cast(:customers as text[]) is null or customer_id = any(cast(:customers as text[])))
),
sales as (
    select o.customer_id, (o.occurred_at at time zone :zone)::date as day, o.currency, o.amount
    from known_orders o
    where o.amount is not null
      and not exists (
          select from order_status s
          where s.order_id = o.order_id and s.status in ('cancelled', 'refunded')
            and s.occurred_at <= :as_of and s.recorded_at <= :known_at
            and not exists (
                select from order_status later
                where later.order_id = s.order_id and later.status not in ('cancelled', 'refunded')
                  and later.occurred_at > s.occurred_at
                  and later.occurred_at <= :as_of and later.recorded_at <= :known_at))
    union all
    -- An order that does not bring its total is worth what its lines add up to, in each of their currencies. In one join, so
    -- that figures of the planner that are out of date can't make it add up all lines for every such order.
    select o.customer_id, (o.occurred_at at time zone :zone)::date, i.currency, sum(i.amount)
    from known_orders o
    left join (
        select order_id, currency, amount from order_items where recorded_at <= :known_at
        union all
        select order_id, currency, amount from order_item_history
        where recorded_at <= :known_at and replaced_at > :known_at
    ) as i using (order_id)
    where o.amount is null
      and not exists (
          select from order_status s
          where s.order_id = o.order_id and s.status in ('cancelled', 'refunded')
            and s.occurred_at <= :as_of and s.recorded_at <= :known_at
            and not exists (
                select from order_status later
                where later.order_id = s.order_id and later.status not in ('cancelled', 'refunded')
                  and later.occurred_at > s.occurred_at
                  and later.occurred_at <= :as_of and later.recorded_at <= :known_at))
    group by o.order_id, o.customer_id, o.occurred_at, i.currency
),
marked as (
    -- Each customer's purchases by day, then the credits: one sort serves all.
    select customer_id, day, currency, amount, coalesce(amount < 0, false) as is_credit,
           first_value(day) over sorted as first_on,
           lag(day) over sorted is distinct from day as is_new_day,
           (lag(day) over sorted, lag(currency) over sorted) is distinct from (day, currency) as is_new_in_currency
    from sales
    window sorted as (partition by customer_id order by coalesce(amount < 0, false), day, currency)
),
by_currency as (
    select customer_id, currency, min(first_on) as first_on,
           max(day) filter (where not is_credit) as last_on,
           count(*) filter (where is_new_day and not is_credit) as new_days,
           count(*) filter (where is_new_in_currency and not is_credit and amount is not null) as days,
           count(*) filter (where is_new_in_currency and not is_credit and amount is not null and day > first_on)
               as spend_days,
           sum(amount) filter (where day > first_on) as spent
    from marked
    group by customer_id, currency
),
ranked as (
    select customer_id, currency, first_on, spend_days, spent, days,
           max(last_on) over customer as last_on,
           sum(new_days) over customer as purchases,
           sum(days) over customer as all_days,
           row_number() over (customer order by days desc, last_on desc nulls last, currency) as place
    from by_currency
    window customer as (partition by customer_id)
)
select customer_id, purchases::int - 1 as frequency, first_on, last_on, last_on - first_on as recency,
       (:as_of at time zone :zone)::date - first_on as age,
       case when days > 0 then currency end as currency, spend_days::int as spend_days,
       case when spend_days > 0 and spent > 0 then (spent / spend_days)::float8 end as mean_spend,
       case when all_days > 0 then days::float8 / all_days::float8 end as share
from ranked
where place = 1 and purchases > 0
