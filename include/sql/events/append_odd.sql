-- Keep events that became nothing, each once. Returns source and key of those that were not there.
insert into odd_events (source, event_key, inbox_id, position, word, reason, message_id, recorded_at)
select source, event_key, inbox_id, position, word, reason, message_id, :now
from unnest(
    string_to_array(:sources, e'\x1f'), cast(:keys as bigint[]), cast(:inbox_ids as bigint[]), cast(:positions as integer[]),
    string_to_array(:words, e'\x1f', ''), string_to_array(:reasons, e'\x1f'), cast(:message_ids as bigint[]))
    as odd (source, event_key, inbox_id, position, word, reason, message_id)
order by source, event_key
on conflict (source, event_key) do nothing
returning source, event_key
