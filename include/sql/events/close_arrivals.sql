-- These requests are understood: how many events each held, how many of those were new, how many are odd.
update inbox i
set interpreted_at = :now, events = done.events, fresh = coalesce(i.fresh, 0) + done.fresh, odd = done.odd, error = null, retry_at = null
from unnest(cast(:ids as bigint[]), cast(:events as integer[]), cast(:fresh as integer[]), cast(:odd as integer[]))
    as done (inbox_id, events, fresh, odd)
where i.inbox_id = done.inbox_id
