-- Append what became of messages at the hand-over, once a message: one row each of the arrays.
insert into outcomes (message_id, kind, reason, provider, provider_id, segments, occurred_at, recorded_at)
select message_id, kind, reason, :provider, provider_id, segments, :now, :now
from unnest(
    cast(:ids as bigint[]), cast(:kinds as text[]), cast(:reasons as text[]), cast(:provider_ids as text[]),
    cast(:segments as smallint[])) as receipt (message_id, kind, reason, provider_id, segments)
order by message_id
on conflict do nothing
