-- For whom the condition :node holds: the scorecard says one of :states.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
join as_of.churn c using (customer_id)
where c.state = any(cast(:states as text[]))
