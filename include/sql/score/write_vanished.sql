-- Customers who have no purchase any more (their orders were cancelled or turned out to be another's): from now on no value.
insert into customer_values (customer_id, as_of)
select customer_id, :as_of
from unnest(cast(:customers as text[])) as changed (customer_id)
where not exists (select from predictions p where p.customer_id = changed.customer_id)
  and exists (select from customer_values v where v.customer_id = changed.customer_id)
