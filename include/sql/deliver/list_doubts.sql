-- The messages whose answer was lost and that nothing has settled yet, of one cohort or of all, oldest first.
select m.message_id, m.batch_id, m.channel, m.address, c.journey, m.cohort_id, m.step, c.mode, u.provider,
       extract(epoch from u.occurred_at)::float as sending_at
from outcomes u
join messages m using (message_id)
join cohorts c using (cohort_id)
where u.kind = 'unknown'
  and (cast(:cohort_id as bigint) is null or m.cohort_id = :cohort_id)
  and not exists (
      select from outcomes o where o.message_id = u.message_id and o.kind in ('accepted', 'withheld', 'refused'))
order by u.outcome_id
