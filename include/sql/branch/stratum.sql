-- Everybody's stratum by expected future value, 1 to 5.
insert into planned_values (enrollment_id, name, value)
select p.enrollment_id, :name, cast(s.stratum as text)
from planned_people p
join as_of.strata s using (customer_id)
