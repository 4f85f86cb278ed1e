-- The staged customers who are new or come with another address than the store has: those that may be of the erased.
select distinct s.customer_id, s.email, s.phone, c.customer_id is null as is_new
from staged_customers s
left join customers c using (customer_id)
where c.customer_id is null
   or s.email is not null and s.email is distinct from c.email
   or s.phone is not null and s.phone is distinct from c.phone
