-- One customer's tiers up to :as_of, the first one first.
select scheme, tier, previous, since, levels
from tiers
where customer_id = :customer_id and since <= :as_of
order by since, scheme
