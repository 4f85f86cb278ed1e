-- What was decided: one row a day (of the due moment, in :zone), journey, step, channel, decision and reason. `accepted`: how
-- many of them the outbox took; `withheld`: how many were held back at the hand-over.
select (m.due_at at time zone :zone)::date as day, e.journey, m.step, m.channel, m.decision, m.reason, count(*) as messages,
       count(*) filter (where o.kind = 'accepted') as accepted, count(*) filter (where o.kind = 'withheld') as withheld
from messages m
join enrollments e using (enrollment_id)
left join outcomes o on o.message_id = m.message_id and o.kind in ('accepted', 'withheld')
group by 1, 2, 3, 4, 5, 6
order by 1, 2, 3, 4, 5, 6
