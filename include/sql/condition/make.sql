-- Which of a step's conditions hold for whom: filled leaf by leaf, then joined.
create temporary table planned_conditions (node integer not null, enrollment_id bigint not null) on commit drop
