-- Who came back to e-mail, and when: every `resubscribed` of the customers of these messages.
select distinct n.customer_id, o.message_id, extract(epoch from o.occurred_at)::float8 as moment
from unnest(cast(:ids as bigint[])) as asked (message_id)
join messages a on a.message_id = asked.message_id
join enrollments who on who.enrollment_id = a.enrollment_id
join enrollments n on n.customer_id = who.customer_id
join messages m on m.enrollment_id = n.enrollment_id and m.channel = 'email'
join outcomes o on o.message_id = m.message_id and o.kind = 'resubscribed'
