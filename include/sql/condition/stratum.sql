-- For whom the condition :node holds: is in one of :strata by expected future value (1 is the best).
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
join as_of.strata s using (customer_id)
where s.stratum = any(cast(:strata as integer[]))
