-- For whom the condition :node holds: one of :kinds came of a message of the step :of_step, as far as it was known. What
-- machines open and click does not count.
insert into planned_conditions (node, enrollment_id)
select distinct :node, p.enrollment_id
from planned_people p
join messages m on m.enrollment_id = p.enrollment_id and m.step = :of_step
join outcomes o on o.message_id = m.message_id
where o.kind = any(cast(:kinds as text[])) and not o.is_machine
  and o.occurred_at <= :seen_at and o.recorded_at <= :seen_at
