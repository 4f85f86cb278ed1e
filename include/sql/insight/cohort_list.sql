-- A journey's cohorts, newest first, from after the cohort :before (null: from the newest). Counts come from the cohorts
-- and their batches alone, so that a list of large cohorts is as quick as one of small ones.
select c.cohort_id, c.cohort_at, c.mode, c.status, c.candidates,
       coalesce(b.sends, 0)::int as sends, coalesce(b.waiting, 0)::int as waiting,
       coalesce(b.in_doubt, 0)::int as in_doubt, coalesce(b.failed, 0)::int as failed
from cohorts c
left join lateral (
    select sum(size) as sends, sum(size) filter (where state in ('ready', 'sending')) as waiting,
           sum(in_doubt) as in_doubt, sum(size) filter (where state = 'failed') as failed
    from batches
    where batches.cohort_id = c.cohort_id
) as b on true
where c.journey = :journey and (cast(:before as bigint) is null or (c.cohort_at, c.cohort_id) < (
      select b.cohort_at, b.cohort_id from cohorts b where b.cohort_id = :before))
order by c.cohort_at desc, c.cohort_id desc
limit :most
