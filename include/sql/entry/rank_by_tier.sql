-- Who has the best of the six tiers goes first.
insert into audience_ranks (customer_id, rank)
select customer_id, array_position(array['diamond', 'gold', 'silver', 'churn_warning', 'potential', 'new'], tier)
from as_of.tiers
where scheme = 'six' and customer_id in (select customer_id from audience_fresh union select customer_id from audience_backlog)
