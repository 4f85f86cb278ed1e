-- What became of the sends of a cohort at a step: handed over, withheld by reason, refused, or still open by the state
-- of their batch.
select m.step, m.channel,
       coalesce(o.kind, case b.state when 'unknown' then 'in_doubt' when 'failed' then 'failed' else 'open' end) as outcome,
       o.reason, count(*) as messages
from messages m
join batches b using (batch_id)
left join outcomes o on o.message_id = m.message_id and o.kind in ('accepted', 'withheld', 'refused')
where m.cohort_id = :cohort_id and (cast(:step as text) is null or m.step = :step)
group by m.step, m.channel, outcome, o.reason
order by min(m.due_at), m.step, m.channel, outcome, o.reason
