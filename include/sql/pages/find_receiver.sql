-- Whom a message went to, how, and when it was planned; nothing for a message that is not kept. customer_id is the one that
-- the person goes on under (customer_merges); its address on each channel is that of now.
with recursive went as (
    select m.message_id, m.channel, m.address, m.locale, m.planned_at, c.mode, e.customer_id
    from messages m
    join enrollments e using (enrollment_id)
    join cohorts c on c.cohort_id = m.cohort_id
    where m.message_id = :message_id and m.decision = 'send'
),
chain as (
    select customer_id, 0 as depth from went
    union all
    select k.kept_id, chain.depth + 1
    from chain
    join customer_merges k on k.merged_id = chain.customer_id and k.undone_at is null
    where chain.depth < 100
)
select w.message_id, w.channel, w.address, w.locale, w.planned_at, w.mode = 'test' as is_test, p.customer_id, p.email, p.phone
from went w
join customers p on p.customer_id = (select customer_id from chain order by depth desc limit 1)
