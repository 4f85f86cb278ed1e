-- Each customer's rhythm in each category as of an instant, into the temporary table category_sums: the last day bought on,
-- how many intervals between days there are, and their median. :customers null is everybody. A line counts under its own
-- category, else its product's; lines without either, credits, and orders cancelled or refunded do not count.
create temporary table category_sums on commit drop as
with known_orders as (
    select order_id, customer_id, occurred_at
    from orders
    where occurred_at <= :as_of and recorded_at <= :known_at
      and (cast(:customers as text[]) is null or customer_id = any(cast(:customers as text[])))
    union all
    select order_id, customer_id, occurred_at
    from order_history
    where occurred_at <= :as_of and recorded_at <= :known_at and replaced_at > :known_at
      and (cast(:customers as text[]) is null or customer_id = any(cast(:customers as text[])))
),
known_items as (
    select order_id, product_id, category, quantity, amount from order_items where recorded_at <= :known_at
    union all
    select order_id, product_id, category, quantity, amount from order_item_history
    where recorded_at <= :known_at and replaced_at > :known_at
),
bought as (
    select distinct o.customer_id, coalesce(i.category, p.category) as category,
           (o.occurred_at at time zone :zone)::date as day
    from known_orders o
    join known_items i using (order_id)
    left join products p on p.product_id = i.product_id and p.occurred_at <= :as_of and p.recorded_at <= :known_at
    where i.quantity > 0 and i.amount >= 0 and coalesce(i.category, p.category) is not null
      and not exists (
          select from order_status s
          where s.order_id = o.order_id and s.status in ('cancelled', 'refunded')
            and s.occurred_at <= :as_of and s.recorded_at <= :known_at
            and not exists (
                select from order_status later
                where later.order_id = s.order_id and later.status not in ('cancelled', 'refunded')
                  and later.occurred_at > s.occurred_at
                  and later.occurred_at <= :as_of and later.recorded_at <= :known_at))
),
gaps as (
    select customer_id, category, day, day - lag(day) over (partition by customer_id, category order by day) as days
    from bought
)
select customer_id, category, max(day) as last_on, count(days)::int as intervals,
       percentile_cont(0.5) within group (order by days) as median
from gaps
group by customer_id, category
