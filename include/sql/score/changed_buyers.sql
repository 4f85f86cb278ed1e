-- Customers whose purchases may look otherwise than as of :since: something of theirs was recorded, replaced or happened
-- after it. Recorded moments count from :since_known. Those whose orders moved to another customer are among them.
with changed_orders as (
    select customer_id from orders
    where recorded_at <= :known_at and occurred_at <= :as_of
      and (recorded_at > :since_known or occurred_at > :since)
    union all
    select customer_id from order_history
    where replaced_at > :since_known and recorded_at <= :known_at
),
touched as (
    select order_id from order_status
    where recorded_at <= :known_at and occurred_at <= :as_of
      and (recorded_at > :since_known or occurred_at > :since)
    union
    select order_id from order_items where recorded_at > :since_known and recorded_at <= :known_at
    union
    select order_id from order_item_history where replaced_at > :since_known and recorded_at <= :known_at
),
moved as (
    select unnest(array[kept_id, merged_id]) as customer_id from customer_merges
    where merged_at > :since_known or undone_at > :since_known
)
select customer_id from changed_orders
union
select o.customer_id from touched join orders o using (order_id)
union
select customer_id from moved
