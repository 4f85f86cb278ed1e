-- A page of the loads, newest first, from before the load :before (null: from the newest).
select import_id, source, mapping, name, actor, is_history, state, started_at, ended_at, rows_read, rows_rejected,
       cells_left_out, summary, error
from imports
where cast(:before as bigint) is null or import_id < :before
order by import_id desc
limit :most
