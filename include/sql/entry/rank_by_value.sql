-- Who is expected to be worth most in the next 12 months goes first.
insert into audience_ranks (customer_id, rank)
select customer_id, -value
from as_of.customer_values
where value is not null and customer_id in (select customer_id from audience_fresh union select customer_id from audience_backlog)
