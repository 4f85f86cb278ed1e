-- The audience that named everybody, for journeys with several.
insert into planned_values (enrollment_id, name, value)
select p.enrollment_id, :name, e.audience
from planned_people p
join enrollments e using (enrollment_id)
where e.audience is not null
