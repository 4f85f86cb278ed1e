-- For whom the condition :node holds: all of :parts (how many: :count) do.
insert into planned_conditions (node, enrollment_id)
select :node, enrollment_id
from planned_conditions
where node = any(cast(:parts as integer[]))
group by enrollment_id
having count(*) = :count
