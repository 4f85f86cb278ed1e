-- For whom the condition :node holds: is in one of :tiers of the scheme :scheme.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
join as_of.tiers t using (customer_id)
where t.scheme = :scheme and t.tier = any(cast(:tiers as text[]))
