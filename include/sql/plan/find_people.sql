-- Who is to be decided: the enrollments of a cohort without a decision at this step, and those whose skip may be decided
-- again, with what they had before, in the temporary table planned_people. Looks at no customer.
create temporary table planned_people on commit drop as
select e.enrollment_id, e.customer_id, e.arm, e.entered_at, last.attempt, last.reason as last_reason
from enrollments e
left join planned_attempts last using (enrollment_id)
where e.cohort_id = :cohort_id
  and (last.attempt is null
       or last.decision = 'skip' and last.reason = any(cast(:redecidable as text[])) and not :is_expired)
