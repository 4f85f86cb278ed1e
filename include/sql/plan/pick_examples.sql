-- A few sends of a cohort to show: every step, channel and locale gets its first before any gets its second.
select message_id, step, channel, batch_id
from (
    select m.message_id, m.step, m.channel, m.batch_id, m.due_at,
           row_number() over (partition by m.step, m.channel, m.locale order by m.message_id) as nth
    from messages m
    where m.cohort_id = :cohort_id and m.decision = 'send'
      and (cast(:channel as text) is null or m.channel = :channel)
) as numbered
order by nth, due_at, channel, message_id
limit :most
