-- One message of a cohort as it lies in the outbox.
select m.message_id, m.step, x.channel, x.address, x.locale, x.subject, x.html, x.text, x.encoding, x.segments,
       x.accepted_at, m.due_at, e.customer_id, e.occurrence
from messages m
join outbox x using (message_id)
join enrollments e using (enrollment_id)
where m.message_id = :message_id and m.cohort_id = :cohort_id
