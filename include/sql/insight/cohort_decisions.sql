-- The decisions that stand in a cohort, by step, channel and reason (null for a send). people counts everybody once a
-- step; messages counts extra channels, too. A skip that was decided anew counts with its last word only.
select m.step, m.channel, m.decision, m.reason,
       count(*) filter (where m.role = 'first') as people, count(*) as messages
from messages m
left join (
    select enrollment_id, step, max(attempt) as attempt
    from messages
    where cohort_id = :cohort_id and attempt > 1
    group by enrollment_id, step
) as last using (enrollment_id, step)
where m.cohort_id = :cohort_id and (m.decision = 'send' or m.attempt >= coalesce(last.attempt, 1))
group by m.step, m.channel, m.decision, m.reason
order by m.step, m.decision desc, messages desc, m.reason, m.channel
