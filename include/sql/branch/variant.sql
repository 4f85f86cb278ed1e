-- Everybody's arm.
insert into planned_values (enrollment_id, name, value)
select enrollment_id, :name, arm from planned_people
