-- What find_undone finds, of the customers in scratch_touched alone.
create unlogged table scratch_undone with (parallel_workers = 0) as
select b.order_id
from scratch_touched t
join (
    select order_id, customer_id from orders
    union all
    select order_id, customer_id from order_history where replaced_at > :known_at
) as o using (customer_id)
join order_status b using (order_id)
where t.by_orders
  and b.status in ('cancelled', 'refunded') and b.occurred_at <= :as_of and b.recorded_at <= :known_at
  and coalesce((select max(s.occurred_at) from order_status s
                where s.order_id = b.order_id and s.occurred_at > b.occurred_at
                  and s.status not in ('cancelled', 'refunded')
                  and s.occurred_at <= :as_of and s.recorded_at <= :known_at), b.occurred_at) = b.occurred_at
