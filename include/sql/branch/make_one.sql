-- One customer who is in no cohort, as planned_people: for a look at what they would get.
create temporary table planned_people on commit drop as
select cast(0 as bigint) as enrollment_id, cast(:customer_id as text) as customer_id, cast('' as text) as arm
