-- Contacts of these messages that did not take place, withheld or refused, count for no cap any more. A repeat's is the latest:
-- that of before took place.
delete from contact_slots s
using messages m, enrollments e, outcomes o
where m.batch_id = :batch_id and m.message_id = any(cast(:ids as bigint[])) and e.enrollment_id = m.enrollment_id
  and o.message_id = m.message_id
  and (o.kind = 'withheld' or o.kind = 'refused' and o.reason is distinct from 'unaccounted')
  and s.customer_id = e.customer_id and s.enrollment_id = m.enrollment_id and s.step = m.step and s.channel = m.channel
  and not exists (
      select from contact_slots t
      where t.customer_id = s.customer_id and t.mode = s.mode and t.enrollment_id = s.enrollment_id and t.step = s.step
        and t.channel = s.channel and (t.day, t.nth) > (s.day, s.nth))
