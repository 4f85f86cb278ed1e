-- Addresses that a provider refuses for good are not to be used again: :ids and :reasons name the messages and why.
insert into suppressions (channel, address, is_suppressed, reason, occurred_at, recorded_at)
select distinct on (m.channel, m.address) m.channel, m.address, true, refused.reason, cast(:now as timestamptz), cast(:now as timestamptz)
from unnest(cast(:ids as bigint[]), cast(:reasons as text[])) as refused (message_id, reason)
join messages m using (message_id)
order by m.channel, m.address, refused.message_id
