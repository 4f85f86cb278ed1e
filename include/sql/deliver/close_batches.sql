-- Batches that waited for lost answers are done once every message of theirs has its final one.
update batches b
set state = 'done', done_at = :now
where b.state = 'unknown'
  and not exists (
      select from messages m
      where m.batch_id = b.batch_id
        and not exists (
            select from outcomes o where o.message_id = m.message_id and o.kind in ('accepted', 'withheld', 'refused')))
