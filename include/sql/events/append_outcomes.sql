-- Append what events tell of messages: one element each of the arrays. An event whose message we never sent, or that names
-- another batch or address than the message's, is not taken. Returns by slot how many were new, the places (from 1) of the
-- new ones that have an effect, and places and faults of those not taken.
-- Ids tell their month in the bits above the 32nd (store/months.py) and messages is cut by the enrollment's: looked for near
-- the message's own month first, and everywhere only if it is not there.
with told as (
    select t.*, case
               when coalesce(near.batch_id, far.batch_id) is null then 'unknown_message'
               when t.batch_id <> coalesce(near.batch_id, far.batch_id) then 'other_batch'
               when t.address <> lower(coalesce(near.address, far.address)) then 'other_address'
           end as fault
    from unnest(
        cast(:ids as bigint[]), string_to_array(:kinds, e'\x1f'), cast(:keys as bigint[]), cast(:moments as float8[]),
        string_to_array(:providers, e'\x1f', ''), string_to_array(:provider_ids, e'\x1f', ''),
        string_to_array(:reasons, e'\x1f', ''), cast(:link_ids as bigint[]), cast(:link_keys as bigint[]),
        cast(:machines as boolean[]), cast(:batches as bigint[]), string_to_array(:addresses, e'\x1f', ''),
        cast(:slots as integer[]), cast(:effects as boolean[]))
        with ordinality as t (message_id, kind, event_key, moment, provider, provider_id, reason, link_id, link_key,
                              is_machine, batch_id, address, slot, has_effect, place)
    left join lateral (
        select m.batch_id, m.address
        from messages m
        where m.message_id = t.message_id and m.decision = 'send'
          and m.enrollment_id >= ((t.message_id >> 32) - 2) << 32 and m.enrollment_id < ((t.message_id >> 32) + 2) << 32
        limit 1
    ) as near on true
    left join lateral (
        select m.batch_id, m.address
        from messages m
        where near.batch_id is null and m.message_id = t.message_id and m.decision = 'send'
        limit 1
    ) as far on true
),
added as (
    insert into outcomes (message_id, kind, reason, provider, provider_id, event_key, link_id, link_key, is_machine,
                          occurred_at, recorded_at)
    select message_id, kind, reason, provider, provider_id, event_key, link_id, link_key, is_machine,
           to_timestamp(moment), :now
    from told
    where fault is null
    order by message_id, event_key
    on conflict (message_id, event_key) where event_key is not null do nothing
    returning message_id, event_key
)
select t.slot, count(a.event_key) as fresh,
       array_agg(t.place) filter (where a.event_key is not null and t.has_effect) as new,
       array_agg(t.place) filter (where t.fault is not null) as places,
       array_agg(t.fault) filter (where t.fault is not null) as faults
from told t
left join added a using (message_id, event_key)
group by t.slot
