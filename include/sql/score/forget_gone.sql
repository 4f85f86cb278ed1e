-- Those of scratch_sums who are no customers any more leave the sums, and their tiers end at :as_of.
with gone as (
    delete from customer_sums p using scratch_sums s
    where s.customer_id = p.customer_id and not s.is_customer
    returning p.customer_id, p.six, p.shares
)
insert into tiers (customer_id, scheme, since, tier, previous, levels)
select gone.customer_id, had.scheme, :as_of, null, had.tier, null
from gone
cross join lateral (values ('six', gone.six), ('shares', gone.shares)) as had (scheme, tier)
where had.tier is not null
