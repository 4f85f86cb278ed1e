-- The steps of the scale that points of the second scheme are read from: of those who have any, the values that :steps of
-- them do not exceed, for value, depth of the relation, interaction and nearness of the last order.
select percentile_disc(cast(:steps as float8[])) within group (order by cast(amount as float8))
           filter (where amount > 0) as value,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(orders + orders_before as float8))
           filter (where orders + orders_before > 0) as depth,
       percentile_disc(cast(:steps as float8[])) within group (
           order by logins * cast(:login as float8) + views * cast(:view as float8) + carts * cast(:cart as float8)
                    + participations * cast(:participation as float8) + community * cast(:community as float8))
           filter (where logins + views + carts + participations + community > 0) as interaction,
       percentile_disc(cast(:steps as float8[])) within group (order by date_part('epoch', last_order_at)) as risk
from scored_sums
