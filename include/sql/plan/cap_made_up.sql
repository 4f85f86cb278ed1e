-- After a freeze nobody gets more than one made-up step of a journey a day: who in planned_decisions has had a message of
-- another step since midnight is given the reason frequency_cap. The last of the reasons.
update planned_decisions d
set reason = 'frequency_cap'
where d.reason is null
  and exists (
      select from messages m
      join enrollments e using (enrollment_id)
      where e.customer_id = d.customer_id and e.mode = :mode and e.journey = :journey
        and m.decision = 'send' and m.step <> :step
        and m.planned_at >= :local_midnight)
