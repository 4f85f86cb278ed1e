-- Everybody's tier of the scheme :scheme.
insert into planned_values (enrollment_id, name, value)
select p.enrollment_id, :name, t.tier
from planned_people p
join as_of.tiers t using (customer_id)
where t.scheme = :scheme
