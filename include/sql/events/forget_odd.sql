-- Requests that are understood anew: what was odd about them is found out again.
delete from odd_events where inbox_id = any(cast(:ids as bigint[]))
