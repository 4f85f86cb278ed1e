-- How many people got how many messages in all.
select messages, count(*) as people
from (
    select e.customer_id, count(*) as messages
    from outbox
    join messages using (message_id)
    join enrollments e using (enrollment_id)
    group by e.customer_id
) as each
group by messages
order by messages
