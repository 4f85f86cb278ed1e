-- Who became a customer last goes first.
insert into audience_ranks (customer_id, rank)
select customer_id, -extract(epoch from occurred_at)
from as_of.customers
where customer_id in (select customer_id from audience_fresh union select customer_id from audience_backlog)
