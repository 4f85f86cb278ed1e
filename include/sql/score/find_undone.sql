-- The orders of everybody (:everybody), of those in scratch_touched or of :one that do not count as of :as_of, because
-- the last that is known of them is cancelled or refunded: in the table scratch_undone. What is scratch is dropped in the
-- transaction that made it; a temporary table would keep parallel workers out.
create unlogged table scratch_undone with (parallel_workers = 0) as
select b.order_id
from order_status b
where b.status in ('cancelled', 'refunded') and b.occurred_at <= :as_of and b.recorded_at <= :known_at
  and (:everybody
       or b.order_id in (
           select order_id
           from (
               select order_id, customer_id from orders
               union all
               select order_id, customer_id from order_history where replaced_at > :known_at
           ) as theirs
           -- Said so that it is looked up in memory while the table is read once: that beats many looks at an index.
           where (:everybody or customer_id in (select customer_id from scratch_touched where by_orders))
             and (cast(:one as text) is null or customer_id = :one)))
  -- A probe for each: few orders are undone, and the table of states is long.
  and coalesce((select max(s.occurred_at) from order_status s
                where s.order_id = b.order_id and s.occurred_at > b.occurred_at
                  and s.status not in ('cancelled', 'refunded')
                  and s.occurred_at <= :as_of and s.recorded_at <= :known_at), b.occurred_at) = b.occurred_at
