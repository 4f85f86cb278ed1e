-- The journeys that still carry this id, as mode, journey. Run after a merge these are the ones in which its enrollment
-- ends, for the kept customer is in them; run before an undo, the ones in which it goes on.
select distinct e.mode, e.journey
from enrollments e
join cohorts c using (cohort_id)
where e.customer_id = :merged_id and c.status <> 'settled'
order by e.mode, e.journey
