-- Whether the answer for some message of a batch was lost and nothing has settled it yet.
select exists (
    select from messages m
    join outcomes u on u.message_id = m.message_id and u.kind = 'unknown'
    where m.batch_id = :batch_id
      and not exists (
          select from outcomes o where o.message_id = m.message_id and o.kind in ('accepted', 'withheld', 'refused')))
