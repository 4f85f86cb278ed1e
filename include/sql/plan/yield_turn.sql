-- Who has a step of a journey with a higher priority still to come on the same day of her own zone gets that one: where
-- the day's contacts (:most) can't hold both, planned_decisions are given the reason outranked.
update planned_decisions d
set reason = 'outranked'
from (
    select d.enrollment_id, d.customer_id, h.day, count(distinct (e.enrollment_id, s.step)) as to_come
    from planned_decisions d
    join planned_hours h on (h.channel, h.zone, h.country) = (d.channel, d.zone, d.country)
    join enrollments e on e.customer_id = d.customer_id
    join cohorts c on c.cohort_id = e.cohort_id
    join cohort_steps s on s.cohort_id = e.cohort_id
    where d.reason is null
      and e.mode = :mode and e.journey = any(cast(:higher as text[])) and e.arm <> 'holdout' and e.is_eligible
      and c.status = 'open'
      and s.purpose = 'marketing' and s.not_after > :now
      and (s.due_at at time zone h.batch_zone)::date = h.day
      and not exists (
          select from messages m where m.enrollment_id = e.enrollment_id and m.step = s.step)
      and not exists (
          select from stops t where t.lifted_at is null and (t.journey is null or t.journey = e.journey))
    group by d.enrollment_id, d.customer_id, h.day
) as awaited
where d.enrollment_id = awaited.enrollment_id and d.reason is null
  and awaited.to_come + (
      select count(distinct (p.enrollment_id, p.step)) from planned_contacts p
      where p.customer_id = awaited.customer_id and p.day = awaited.day
        and not (p.enrollment_id = awaited.enrollment_id and p.step = :step)) >= :most
