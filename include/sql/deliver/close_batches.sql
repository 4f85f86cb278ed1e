-- Count anew what is in doubt in the batches that have any, or wait for it: those that waited for it alone are done.
update batches b
set in_doubt = counted.in_doubt,
    state = case when counted.in_doubt = 0 and b.state = 'unknown' then 'done' else b.state end,
    done_at = case when counted.in_doubt = 0 and b.state = 'unknown' then :now else b.done_at end
from (
    select d.batch_id, count(*) filter (where u.message_id is not null and o.message_id is null) as in_doubt
    from batches d
    join messages m using (batch_id)
    left join outcomes u on u.message_id = m.message_id and u.kind = 'unknown'
    left join outcomes o on o.message_id = m.message_id and o.kind in ('accepted', 'withheld', 'refused')
    where d.in_doubt > 0 or d.state = 'unknown'
    group by d.batch_id
) as counted
where counted.batch_id = b.batch_id
