-- The messages of a batch that have no final answer yet.
select m.message_id
from messages m
where m.batch_id = :batch_id
  and not exists (
      select from outcomes o where o.message_id = m.message_id and o.kind in ('accepted', 'withheld', 'refused'))
order by m.message_id
