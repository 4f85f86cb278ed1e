-- A page of what a cohort left in the outbox, oldest first, from after a message id; step and channel may be null. The
-- ids are found first and by themselves: a walk along all message ids would be slow for a young cohort.
with mine as materialized (
    select message_id, enrollment_id, step
    from messages
    where cohort_id = :cohort_id and decision = 'send' and message_id > :after
      and (cast(:step as text) is null or step = :step)
      and (cast(:channel as text) is null or channel = :channel)
)
select m.message_id, m.step, x.channel, x.address, x.locale, x.subject, left(x.text, 160) as beginning, e.customer_id
from mine m
join outbox x using (message_id)
join enrollments e using (enrollment_id)
order by m.message_id
limit :most
