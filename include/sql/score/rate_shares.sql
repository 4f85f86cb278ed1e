-- Everybody's points of the second scheme, 0 to 100, in the table scratch_rated: the steps of each scale that are reached,
-- weighted. The weights add up to 1.
create unlogged table scratch_rated as
select customer_id, shares as previous,
       100 * (cast(:w_value as float8) * coalesce(width_bucket(cast(amount as float8), cast(:value as float8[])), 0)
              + cast(:w_depth as float8)
                * coalesce(width_bucket(cast(orders + orders_before as float8), cast(:depth as float8[])), 0)
              + cast(:w_interaction as float8)
                * coalesce(width_bucket(
                      logins * cast(:login as float8) + views * cast(:view as float8) + carts * cast(:cart as float8)
                      + participations * cast(:participation as float8) + community * cast(:community as float8),
                      cast(:interaction as float8[])), 0)
              + cast(:w_risk as float8)
                * coalesce(width_bucket(date_part('epoch', last_order_at), cast(:risk as float8[])), 0)
             ) / :count as points
from scored_sums
