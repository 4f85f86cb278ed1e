-- Which template and coupon somebody gets who does not get the step's own, and what the words may say of them.
create temporary table planned_choices (enrollment_id bigint not null, template text, offer smallint, facts jsonb) on commit drop
