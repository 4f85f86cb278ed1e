-- Who has the worst state and score on the churn scorecard goes first.
insert into audience_ranks (customer_id, rank)
select customer_id, 1000000 * array_position(array['churned', 'warning', 'active'], state) - coalesce(score, 0)
from as_of.churn
where customer_id in (select customer_id from audience_fresh union select customer_id from audience_backlog)
