-- The most contacts that one person had on one day of :zone. What goes out on several channels at once is one contact.
select coalesce(max(contacts), 0)
from (
    select count(distinct (m.enrollment_id, m.step)) as contacts
    from outbox o
    join messages m using (message_id)
    join enrollments e using (enrollment_id)
    group by e.customer_id, (o.accepted_at at time zone :zone)::date
) as days
