-- What is known of planned_people by which words and coupons differ: filled value by value, as of the decision instant.
create temporary table planned_values (enrollment_id bigint not null, name text not null, value text not null) on commit drop
