-- The median number of candidates of the last fourteen cohorts of this journey, and how many there were.
select percentile_cont(0.5) within group (order by candidates) as usual, count(*) as cohorts
from (
    select candidates from cohorts
    where mode = :mode and journey = :journey and cohort_at < :cohort_at and status <> 'held'
    order by cohort_at desc
    limit 14
) as recent
