-- Append the moves of scratch_shares to the history of tiers.
insert into tiers (customer_id, scheme, since, tier, previous, levels)
select customer_id, 'shares', :as_of, tier, previous, null
from scratch_shares
order by customer_id
