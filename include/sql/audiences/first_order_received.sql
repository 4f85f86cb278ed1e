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
    select o.order_id, o.customer_id, o.occurred_at,
           min(s.occurred_at) filter (where s.status = 'delivered') as delivered_at,
           min(s.occurred_at) filter (where s.status = 'paid') as paid_at
    from lately
    join orders o using (order_id)
    left join order_status s using (order_id)
    where o.status not in ('cancelled', 'refunded')
    group by o.order_id, o.customer_id, o.occurred_at
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
  and not exists (
      select from orders e
      where e.customer_id = r.customer_id and e.status not in ('cancelled', 'refunded')
        and (e.occurred_at, e.order_id) < (r.occurred_at, r.order_id))
