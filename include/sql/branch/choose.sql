-- Fill planned_choices: which template (:templates: value -> name) and coupon (:offers: value -> number) by planned_values; :said are
-- the names of the values that the words may speak of.
insert into planned_choices (enrollment_id, template, offer, facts)
select v.enrollment_id, max(t.value), cast(max(o.value) as smallint),
       jsonb_object_agg(v.name, v.value) filter (where v.name = any(cast(:said as text[])))
from planned_values v
left join jsonb_each_text(cast(:templates as jsonb)) as t on v.name = :template_by and t.key = v.value
left join jsonb_each_text(cast(:offers as jsonb)) as o on v.name = :offer_by and o.key = v.value
group by v.enrollment_id
