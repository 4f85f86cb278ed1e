-- A journey that is one_a_day: who in planned_decisions has, or is to have, a message of another of its steps on the same day of
-- their own zone is given the reason frequency_cap. Service messages count like marketing; what was withheld or refused does not.
update planned_decisions d
set reason = 'frequency_cap'
from planned_hours h
where d.reason is null and (h.channel, h.zone, h.country) = (d.channel, d.zone, d.country)
  and exists (
      select from messages m
      join enrollments e using (enrollment_id)
      where e.customer_id = d.customer_id and e.mode = :mode and e.journey = :journey
        and m.decision = 'send' and m.step <> :step
        and (greatest(m.not_before, m.planned_at) at time zone h.batch_zone)::date = h.day
        and not exists (
            select from outcomes o
            where o.message_id = m.message_id
              and (o.kind = 'withheld' or o.kind = 'refused' and o.reason is distinct from 'unaccounted')))
