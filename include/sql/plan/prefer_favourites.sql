-- Of several channels in planned_decisions that reach somebody, the first in her own order stays.
delete from planned_decisions d
where d.way_reason is null
  and exists (
      select from planned_decisions o
      where o.enrollment_id = d.enrollment_id and o.way_reason is null and o.place < d.place)
