-- Of several channels tried in planned_decisions: a row that says why one does not reach her goes if another one does, or
-- says something that comes first in the published order.
delete from planned_decisions d
where d.way_reason is not null
  and exists (
      select from planned_decisions o
      where o.enrollment_id = d.enrollment_id
        and (o.way_reason is null
             or (array_position(array['suppressed', 'no_consent', 'no_address'], o.way_reason), o.place)
                < (array_position(array['suppressed', 'no_consent', 'no_address'], d.way_reason), d.place)))
