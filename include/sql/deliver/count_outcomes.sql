-- What became of the sends of a cohort at a step: handed over, withheld by reason, refused, in doubt, or still open by the
-- state of their batch.
select m.step, m.channel,
       coalesce(o.kind, case when u.message_id is not null then 'in_doubt' when b.state = 'failed' then 'failed' else 'open' end)
           as outcome,
       o.reason, count(*) as messages
from messages m
join batches b using (batch_id)
left join outcomes o on o.message_id = m.message_id and o.kind in ('accepted', 'withheld', 'refused')
left join outcomes u on u.message_id = m.message_id and u.kind = 'unknown'
where m.cohort_id = :cohort_id and (cast(:step as text) is null or m.step = :step)
group by m.step, m.channel, outcome, o.reason
order by min(m.due_at), m.step, m.channel, outcome, o.reason
