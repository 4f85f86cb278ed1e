-- The scales of the seven dimensions, from value_inputs: of those who have any of it, the values that :steps of them do not
-- exceed; of intervals the negative, so that more is better. Null where nobody has any.
select percentile_disc(cast(:steps as float8[])) within group (order by cast(necessary_recent_amount as float8))
           filter (where necessary_recent_amount > 0) as necessary_recent_amount,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(necessary_recent_orders as float8))
           filter (where necessary_recent_orders > 0) as necessary_recent_orders,
       percentile_disc(cast(:steps as float8[])) within group (order by -necessary_recent_interval)
           filter (where necessary_recent_interval is not null) as necessary_recent_interval,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(necessary_before_amount as float8))
           filter (where necessary_before_amount > 0) as necessary_before_amount,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(necessary_before_orders as float8))
           filter (where necessary_before_orders > 0) as necessary_before_orders,
       percentile_disc(cast(:steps as float8[])) within group (order by -necessary_before_interval)
           filter (where necessary_before_interval is not null) as necessary_before_interval,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(discretionary_recent_amount as float8))
           filter (where discretionary_recent_amount > 0) as discretionary_recent_amount,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(discretionary_recent_orders as float8))
           filter (where discretionary_recent_orders > 0) as discretionary_recent_orders,
       percentile_disc(cast(:steps as float8[])) within group (order by -discretionary_recent_interval)
           filter (where discretionary_recent_interval is not null) as discretionary_recent_interval,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(discretionary_before_amount as float8))
           filter (where discretionary_before_amount > 0) as discretionary_before_amount,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(discretionary_before_orders as float8))
           filter (where discretionary_before_orders > 0) as discretionary_before_orders,
       percentile_disc(cast(:steps as float8[])) within group (order by -discretionary_before_interval)
           filter (where discretionary_before_interval is not null) as discretionary_before_interval,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(referrals as float8))
           filter (where referrals > 0) as referrals,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(advocacy as float8))
           filter (where advocacy > 0) as advocacy,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(answers as float8))
           filter (where answers > 0) as answers,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(participation as float8))
           filter (where participation > 0) as participation,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(surveys as float8))
           filter (where surveys > 0) as surveys,
       percentile_disc(cast(:steps as float8[])) within group (order by cast(suggestions as float8))
           filter (where suggestions > 0) as suggestions
from value_inputs
