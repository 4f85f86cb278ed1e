-- The orders of everybody (:everybody) or of those in scratch_touched, as of :as_of, in sums: in the table
-- scratch_orders. Amounts are added up as whole ten-thousandths: exact, and small in memory. An order below nothing gives
-- money back: it lessens the amount and is no order. What is of another currency without a rate counts as an order and
-- adds nothing.
create unlogged table scratch_orders as
select customer_id,
       min(occurred_at) filter (where amount >= 0) as first_order_at,
       max(occurred_at) filter (where amount >= 0) as last_order_at,
       count(*) filter (where occurred_at > :orders_from and amount >= 0) as orders,
       sum_units(case when currency = :currency then cast(amount * 10000 as bigint)
                      else cast(amount * cast(cast(:rates as jsonb) ->> currency as numeric) * 10000 as bigint)
                 end) filter (where occurred_at > :orders_from) as units,
       count(*) filter (where occurred_at <= :orders_from and amount >= 0) as orders_before,
       sum_units(case when currency = :currency then cast(amount * 10000 as bigint)
                      else cast(amount * cast(cast(:rates as jsonb) ->> currency as numeric) * 10000 as bigint)
                 end) filter (where occurred_at <= :orders_from) as units_before,
       count(*) filter (where occurred_at > :orders_from and amount < 0) as returns,
       count(*) filter (where currency <> :currency and occurred_at > :orders_from
                              and cast(:rates as jsonb) ->> currency is null) as unpriced_orders
from (
    -- Bare, with all conditions outside: so that processes can share the work.
    select order_id, customer_id, occurred_at, recorded_at, amount, currency from orders
    union all
    select order_id, customer_id, occurred_at, recorded_at, amount, currency from scratch_odd
) as known
where (:everybody or customer_id in (select customer_id from scratch_touched where by_orders))
  and (cast(:one as text) is null or customer_id = :one)
  and amount is not null and occurred_at <= :as_of and recorded_at <= :known_at
  and order_id not in (select order_id from scratch_undone)
group by customer_id
