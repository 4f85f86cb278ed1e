-- For whom the condition :node holds: is expected to be worth :least to :most (null: no limit) in the next 12 months.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
join as_of.customer_values v using (customer_id)
where v.value >= coalesce(cast(:least as float8), '-infinity') and v.value < coalesce(cast(:most as float8), 'infinity')
