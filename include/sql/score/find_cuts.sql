-- The cut points of each dimension: of those who have any of it, the values that the given shares of them do not exceed.
-- Each an array beside the shares asked for, null where nobody has any. Recency as seconds since 1970.
select percentile_disc(cast(:recency as float8[])) within group (order by date_part('epoch', last_order_at))
           filter (where orders > 0) as recency,
       percentile_disc(cast(:frequency as float8[])) within group (order by orders)
           filter (where orders > 0) as frequency,
       percentile_disc(cast(:monetary as float8[])) within group (order by cast(amount as float8))
           filter (where amount > 0) as monetary,
       percentile_disc(cast(:activity as float8[])) within group (
           order by logins * cast(:login as float8) + views * cast(:view as float8) + carts * cast(:cart as float8)
                    + participations * cast(:participation as float8) + community * cast(:community as float8))
           filter (where logins + views + carts + participations + community > 0) as activity,
       count(*) as customers
from scored_sums
