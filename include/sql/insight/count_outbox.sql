-- What of one cohort lies in the outbox: messages by step, channel and locale, and one of their subjects (null for SMS).
select m.step, x.channel, x.locale, count(*) as messages, min(x.subject) as subject
from outbox x
join messages m using (message_id)
join cohorts c using (cohort_id)
where c.journey = :journey and c.mode = :mode and c.cohort_at = :cohort_at
group by m.step, x.channel, x.locale
order by min(m.due_at), m.step, x.channel, count(*) desc, x.locale
