-- What was decided at this step before: the last word on each enrollment, a send before any skip, in the temporary table
-- planned_attempts. Empty when the step is planned for the first time.
create temporary table planned_attempts on commit drop as
select distinct on (enrollment_id) enrollment_id, attempt, decision, reason
from messages
where cohort_id = :cohort_id and step = :step
order by enrollment_id, decision = 'send' desc, attempt desc
