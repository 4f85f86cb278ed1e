-- The cohorts of a journey that entered between two moments (the second exclusive), oldest first; of :mode, or of both.
select cohort_id, cohort_at, mode, status
from cohorts
where journey = :journey and cohort_at >= :begins_at and cohort_at < :ends_at
  and (cast(:mode as text) is null or mode = :mode)
order by cohort_at, mode
