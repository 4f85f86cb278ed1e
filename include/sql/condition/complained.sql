-- For whom the condition :node holds: has complained since entering, or entered while a complaint was open.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
where p.customer_id in (select customer_id from events where kind = 'complaint_opened')
  and exists (
      select from as_of.events v
      where v.customer_id = p.customer_id and v.kind = 'complaint_opened'
        and not exists (
            select from as_of.events s
            where s.customer_id = p.customer_id and s.kind = 'complaint_solved'
              and s.occurred_at > v.occurred_at and s.occurred_at <= p.entered_at))
