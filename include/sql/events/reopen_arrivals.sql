-- Requests with events that became nothing are to be understood anew: of one source and reason, or all.
update inbox
set interpreted_at = null, retry_at = null
where interpreted_at is not null
  and inbox_id in (
      select inbox_id from odd_events
      where (cast(:source as text) is null or source = :source) and (cast(:reason as text) is null or reason = :reason))
