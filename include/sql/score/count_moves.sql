-- Who moved between two moments, by where from and where to: the tier before the first change, the one after the last. Null is
-- nowhere: not a customer yet, or no longer scored. Who came back to where she was is not counted.
select began as previous, ended as tier, count(*) as people
from (
    select distinct on (customer_id) customer_id,
           first_value(previous) over by_time as began, last_value(tier) over by_time as ended
    from tiers
    where scheme = :scheme and since > :since and since <= :as_of
    window by_time as (partition by customer_id order by since rows between unbounded preceding and unbounded following)
) as moved
where began is distinct from ended
group by 1, 2
