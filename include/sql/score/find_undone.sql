-- The orders that do not count as of :as_of, because the last that is known of them is cancelled or refunded: in the
-- table scratch_undone. What is scratch is dropped in the transaction that made it; a temporary table would keep parallel
-- workers out.
create unlogged table scratch_undone with (parallel_workers = 0) as
select b.order_id
from order_status b
where b.status in ('cancelled', 'refunded') and b.occurred_at <= :as_of and b.recorded_at <= :known_at
  -- A probe for each: few orders are undone, and the table of states is long.
  and coalesce((select max(s.occurred_at) from order_status s
                where s.order_id = b.order_id and s.occurred_at > b.occurred_at
                  and s.status not in ('cancelled', 'refunded')
                  and s.occurred_at <= :as_of and s.recorded_at <= :known_at), b.occurred_at) = b.occurred_at
