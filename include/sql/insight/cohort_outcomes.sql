-- What became of the sends of a cohort, by step and channel. Everybody's hand-over counts once: accepted, withheld or
-- refused by reason, or open by the state of the batch and whether it waits for its receivers' hours. is_later marks what was
-- heard of accepted ones afterwards; opens and clicks of machines are told apart from those of people.
select m.step, m.channel,
       coalesce(o.kind, case when u.message_id is not null then 'in_doubt' when b.state = 'failed' then 'failed' else 'open' end)
           as outcome,
       case when o.kind <> 'accepted' then o.reason when o.kind is null and b.not_before > m.due_at then 'hours' end as reason,
       false as is_later, count(*) as messages
from messages m
join batches b using (batch_id)
left join outcomes o on o.message_id = m.message_id and o.kind in ('accepted', 'withheld', 'refused')
left join outcomes u on u.message_id = m.message_id and u.kind = 'unknown'
where m.cohort_id = :cohort_id
group by 1, 2, 3, 4
union all
select m.step, m.channel, case when o.is_machine then 'machine_' else '' end || o.kind, null, true, count(distinct m.message_id)
from messages m
join outcomes o using (message_id)
where m.cohort_id = :cohort_id and o.kind not in ('accepted', 'withheld', 'refused', 'unknown')
group by 1, 2, 3
order by is_later, messages desc, outcome, reason
limit 500
