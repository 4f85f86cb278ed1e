-- Put down the orders of touched_lines that stand for a use of touched_coupons as of the instant that as_of is set to; what was
-- known of those coupons before is gone (forget_uses.sql).
--
-- The first order in time counts. One that was cancelled or refunded never does, nor does one after the coupon's time, or a
-- further one. What a percentage gave away is reckoned from what was paid; nobody can tell what a free order would have cost.
-- "offset 0": each order is looked up by its number, instead of all orders being read for the sake of a few.
with seen_items as materialized (
    select i.order_id, i.coupon_code, i.amount, i.currency
    from (select distinct order_id from touched_lines) as d
    cross join lateral (
        select order_id, coupon_code, amount, currency from as_of.order_items where order_id = d.order_id offset 0) as i
),
seen_orders as materialized (
    select o.*
    from (select distinct order_id from touched_lines) as d
    cross join lateral (select * from as_of.orders where order_id = d.order_id offset 0) as o
),
lines as (
    select * from touched_lines l
    where (l.order_id, l.key) in (select order_id, coupon_key(coupon_code) from seen_items where coupon_code is not null)
),
totals as materialized (
    -- In one currency, or nobody knows.
    select order_id, sum(amount) as amount, min(currency) as currency
    from seen_items
    group by order_id
    having min(currency) = max(currency)
),
uses as (
    select l.coupon_id, l.order_id, o.occurred_at, o.customer_id <> l.customer_id as is_shared,
           o.status in ('cancelled', 'refunded') as is_undone, o.occurred_at > l.counts_until as is_late,
           case l.kind
               when 'percent_off' then case
                   when l.value < 100 then round(coalesce(o.amount, t.amount) * l.value / (100 - l.value), 4) end
               when 'points' then null
               else l.value
           end as cost,
           case l.kind when 'percent_off' then coalesce(o.currency, t.currency) when 'points' then null else l.currency end as currency
    from lines l
    join seen_orders o using (order_id)
    left join totals t using (order_id)
)
insert into coupon_uses (coupon_id, order_id, verdict, is_shared, cost, currency, occurred_at)
-- Only one may count at a time: which, promote_uses.sql says when all are there.
select coupon_id, order_id, case when is_undone then 'undone' when is_late then 'late' else 'again' end, is_shared,
       case when not is_undone then cost end, case when not is_undone then currency end, occurred_at
from uses
