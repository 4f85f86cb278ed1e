-- What the churn scorecard says of everybody.
insert into planned_values (enrollment_id, name, value)
select p.enrollment_id, :name, c.state
from planned_people p
join as_of.churn c using (customer_id)
