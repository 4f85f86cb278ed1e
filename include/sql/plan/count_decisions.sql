-- How many decisions stand at each step of a cohort, by channel and reason (null for a send).
select step, channel, decision, reason, count(*) as messages
from messages
where cohort_id = :cohort_id and (cast(:step as text) is null or step = :step)
group by step, channel, decision, reason
order by min(due_at), step, channel, decision desc, count(*) desc, reason
