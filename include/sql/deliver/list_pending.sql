-- The messages of a batch that may still be handed over: no final answer, and none that was lost.
select m.message_id, m.batch_id, m.address, extract(epoch from b.sending_at)::float as sending_at
from messages m
join batches b using (batch_id)
where m.batch_id = :batch_id
  and not exists (
      select from outcomes o
      where o.message_id = m.message_id and o.kind in ('accepted', 'withheld', 'refused', 'unknown'))
order by m.message_id
