-- Append the changes of tier of scratch_judged to the history of the first scheme; the number of them.
insert into tiers (customer_id, scheme, since, tier, previous, levels)
select customer_id, 'six', :as_of, new_six, six, new_levels
from scratch_judged
where new_six is distinct from six
order by customer_id
