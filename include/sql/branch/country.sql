-- Where everybody lives.
insert into planned_values (enrollment_id, name, value)
select p.enrollment_id, :name, c.country
from planned_people p
join as_of.customers c using (customer_id)
where c.country is not null
