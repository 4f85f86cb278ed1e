-- For whom the condition :node holds: any of :parts does.
insert into planned_conditions (node, enrollment_id)
select distinct :node, enrollment_id
from planned_conditions
where node = any(cast(:parts as integer[]))
