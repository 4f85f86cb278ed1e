-- What keeps the books of a cohort open: enrollments without a decision at a step, sends without a final answer.
select wanted.step, 'undecided' as gap, count(*) as people
from unnest(cast(:steps as text[])) as wanted (step)
cross join enrollments e
where e.cohort_id = :cohort_id
  and not exists (select from messages m where m.enrollment_id = e.enrollment_id and m.step = wanted.step)
group by wanted.step
union all
select m.step,
       case when u.message_id is not null then 'in doubt' when b.state = 'failed' then 'failed' else 'not delivered' end,
       count(*)
from messages m
join batches b using (batch_id)
left join outcomes u on u.message_id = m.message_id and u.kind = 'unknown'
where m.cohort_id = :cohort_id
  and not exists (
      select from outcomes o where o.message_id = m.message_id and o.kind in ('accepted', 'withheld', 'refused'))
group by 1, 2
order by 1, 2
