-- At a rebuild: the tiers of those who had sums and are no customers any more end at :as_of.
insert into tiers (customer_id, scheme, since, tier, previous, levels)
select p.customer_id, had.scheme, :as_of, null, had.tier, null
from customer_sums p
cross join lateral (values ('six', p.six), ('shares', p.shares)) as had (scheme, tier)
where had.tier is not null and not exists (select from scratch_sums s where s.customer_id = p.customer_id)
