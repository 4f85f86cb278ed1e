-- Everybody's sums as of :as_of, beside the levels and tiers of the run before, in the table scratch_sums: whoever is a
-- customer, also without an order.
create unlogged table scratch_sums as
select c.customer_id, o.first_order_at, o.last_order_at, cast(coalesce(o.orders, 0) as integer) as orders,
       cast(coalesce(o.units, 0) as numeric) / 10000 as amount,
       cast(coalesce(o.orders_before, 0) as integer) as orders_before,
       cast(coalesce(o.units_before, 0) as numeric) / 10000 as amount_before,
       cast(coalesce(o.returns, 0) as integer) as returns,
       cast(coalesce(o.unpriced_orders, 0) as integer) as unpriced_orders,
       cast(coalesce(a.logins, 0) as integer) as logins, cast(coalesce(a.views, 0) as integer) as views,
       cast(coalesce(a.carts, 0) as integer) as carts,
       cast(coalesce(a.participations, 0) as integer) as participations,
       cast(coalesce(a.community, 0) as integer) as community, a.last_login_at,
       coalesce(p.levels, cast(0 as smallint)) as levels, p.six, p.shares
from (
    select customer_id from customers
    where recorded_at <= :known_at
      and (occurred_at <= :as_of
           or exists (select from customer_history h
                      where h.customer_id = customers.customer_id and h.occurred_at <= :as_of))
    union all
    select customer_id from customer_history c
    where recorded_at <= :known_at and replaced_at > :known_at
      and (occurred_at <= :as_of
           or exists (select from customer_history h
                      where h.customer_id = c.customer_id and h.occurred_at <= :as_of and h.replaced_at <= c.recorded_at))
) as c
left join scratch_orders o using (customer_id)
left join scratch_activity a using (customer_id)
left join customer_sums p using (customer_id)
