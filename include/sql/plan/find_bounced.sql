-- Whose message of a step did not arrive - it bounced, or was refused - and who has had no other since: in the temporary
-- table planned_people, as find_people does.
create temporary table planned_people on commit drop as
select e.enrollment_id, e.customer_id, e.arm, e.entered_at, last.attempt, cast(null as text) as last_reason
from enrollments e
join planned_attempts last using (enrollment_id)
where e.cohort_id = :cohort_id and last.decision = 'send' and not :is_expired
  and not exists (
      select from messages m
      where m.enrollment_id = e.enrollment_id and m.cohort_id = :cohort_id and m.step = :step and m.decision = 'send'
        and not exists (
            select from outcomes o
            where o.message_id = m.message_id
              and (o.kind in ('bounced', 'dropped', 'undelivered', 'failed')
                   or o.kind = 'refused' and o.reason is distinct from 'unaccounted')))
