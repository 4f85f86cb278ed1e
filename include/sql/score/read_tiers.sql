-- Who is in which tier of a scheme as of :as_of, and since when.
select customer_id, tier, since, previous
from (
    select distinct on (customer_id) customer_id, tier, since, previous
    from tiers
    where scheme = :scheme and since <= :as_of
    order by customer_id, since desc
) as latest
where tier is not null
order by customer_id
