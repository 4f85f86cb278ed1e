-- For whom the condition :node holds: did one of :kinds since :since or, with :since_entry, since entering.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
where exists (
    select from as_of.events v
    where v.customer_id = p.customer_id and v.kind = any(cast(:kinds as text[]))
      and v.occurred_at >= case when :since_entry then p.entered_at else cast(:since as timestamptz) end)
