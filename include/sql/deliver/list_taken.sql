-- The provider's ids under which other messages of the same customers were accepted, for each of these messages: what a
-- look-up finds under one of them is not the message asked about.
select m.message_id, o.provider_id
from messages m
join enrollments e using (enrollment_id)
join enrollments f on f.customer_id = e.customer_id
join messages n on n.enrollment_id = f.enrollment_id and n.message_id <> m.message_id
join outcomes o on o.message_id = n.message_id and o.kind = 'accepted' and o.provider_id is not null
where m.message_id = any(cast(:ids as bigint[]))
