-- For whom the condition :node holds: a message of the step :of_step went out to them, or is still to: it was decided to be sent,
-- and neither withheld nor refused as far as was known. One whose fate nobody can tell counts as sent.
insert into planned_conditions (node, enrollment_id)
select distinct :node, p.enrollment_id
from planned_people p
join messages m on m.enrollment_id = p.enrollment_id and m.step = :of_step
where m.decision = 'send'
  and not exists (
      select from outcomes o
      where o.message_id = m.message_id and o.recorded_at <= :seen_at
        and (o.kind = 'withheld' or o.kind = 'refused' and o.reason is distinct from 'unaccounted'))
