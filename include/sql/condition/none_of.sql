-- For whom the condition :node holds: none of :parts does.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
where not exists (
    select from planned_conditions c
    where c.enrollment_id = p.enrollment_id and c.node = any(cast(:parts as integer[])))
