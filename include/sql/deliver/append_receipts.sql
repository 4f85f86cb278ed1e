-- Append what became of messages at the hand-over, once a message: one row each of the arrays. What is in doubt occurred
-- when its batch was handed over, however late that is noticed: its provider is asked about the time since then.
insert into outcomes (message_id, kind, reason, provider, provider_id, segments, occurred_at, recorded_at)
select message_id, kind, reason, :provider, provider_id, segments,
       case when kind = 'unknown'
            then coalesce((select b.sending_at from messages m join batches b using (batch_id)
                           where m.message_id = receipt.message_id), :now)
            else :now end,
       :now
from unnest(
    cast(:ids as bigint[]), cast(:kinds as text[]), cast(:reasons as text[]), cast(:provider_ids as text[]),
    cast(:segments as smallint[])) as receipt (message_id, kind, reason, provider_id, segments)
order by message_id
on conflict do nothing
