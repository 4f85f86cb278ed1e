-- A message that bounced is not sent again on its own channel: planned_decisions for channels of the step's earlier sends go.
delete from planned_decisions d
where exists (
    select from messages m
    where m.enrollment_id = d.enrollment_id and m.cohort_id = :cohort_id and m.step = :step and m.channel = d.channel
      and m.decision = 'send')
