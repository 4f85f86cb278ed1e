-- One row a journey and mode: its cohorts by status, the last one, and what needs somebody's attention.
select c.journey, c.mode,
       count(*) filter (where c.status = 'open') as open,
       count(*) filter (where c.status = 'held') as held,
       count(*) filter (where c.status = 'settled') as settled,
       max(c.cohort_at) as last_cohort_at,
       coalesce(sum(b.in_doubt), 0)::int as in_doubt,
       coalesce(sum(b.failed), 0)::int as failed,
       max(b.error) as error
from cohorts c
left join lateral (
    select sum(in_doubt) as in_doubt, sum(size) filter (where state = 'failed') as failed,
           max(error) filter (where state = 'failed') as error
    from batches where batches.cohort_id = c.cohort_id
) as b on true
group by c.journey, c.mode
order by c.journey, c.mode
