-- Who is to be contacted anew at a step: those of planned_fates who stand at one of :fates, in the temporary table
-- planned_people, as find_people does.
create temporary table planned_people on commit drop as
select e.enrollment_id, e.customer_id, e.arm, e.entered_at, f.attempt, cast(null as text) as last_reason
from planned_fates f
join enrollments e using (enrollment_id)
where f.fate = any(cast(:fates as text[]))
