-- Customers whose first order has arrived: at its delivery or, in a shop that tells of no deliveries, at its payment; where no
-- payments are told either, when it was placed. An order without a word of its delivery, in a shop that tells of them, counts as
-- received ten days after its payment. What was cancelled or refunded is nobody's first order.
with shop as (
    -- What this shop has told us in the last thirty days.
    select count(*) filter (where status = 'delivered') > 0 as tells_deliveries,
           count(*) filter (where status = 'paid') > 0 as tells_payments
    from order_status
    where occurred_at > :as_of - interval '30 days'
),
lately as (
    -- Orders that may have been received within the window.
    select order_id from order_status
    where occurred_at > :window_start - interval '10 days' and status in ('paid', 'delivered')
    union
    select order_id from orders where occurred_at > :window_start - interval '10 days'
),
told as (
    -- Order by order, by the indexes: an end of its own each, or Postgres reads all orders there are.
    select o.*, s.delivered_at, s.paid_at
    from lately
    cross join lateral (
        select customer_id, order_id, occurred_at
        from orders
        where order_id = lately.order_id and status not in ('cancelled', 'refunded')
        offset 0
    ) as o
    cross join lateral (
        select min(occurred_at) filter (where status = 'delivered') as delivered_at,
               min(occurred_at) filter (where status = 'paid') as paid_at
        from order_status
        where order_id = lately.order_id
    ) as s
),
received as (
    select t.*,
           coalesce(
               delivered_at,
               coalesce(paid_at, case when not tells_payments then occurred_at end)
                   + case when tells_deliveries then interval '10 days' else interval '0' end) as received_at
    from told t, shop
)
select customer_id, 'first_order:' || order_id as occurrence
from received r
where received_at > :window_start and received_at <= :as_of
  and (
      select e.order_id from orders e
      where e.customer_id = r.customer_id and e.status not in ('cancelled', 'refunded')
        and (e.occurred_at, e.order_id) < (r.occurred_at, r.order_id)
      limit 1) is null
