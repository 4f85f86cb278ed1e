-- A customer's changes of stratum until :as_of, the first one first.
select since, stratum, previous, basis, value
from strata
where customer_id = :customer_id and since <= :as_of
order by since
