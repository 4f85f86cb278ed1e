-- Keep what people wrote, each message once, with the newest of ours to that number before it: of whoever has the number
-- now, or had it when they entered a journey. Returns those that were not there before.
with came as (
    select c.*, to_timestamp(c.moment) as at
    from unnest(
        string_to_array(:channels, e'\x1f'), string_to_array(:addresses, e'\x1f'), string_to_array(:provider_ids, e'\x1f'),
        string_to_array(:meanings, e'\x1f'), string_to_array(:texts, e'\x1f'), cast(:moments as float8[]))
        as c (channel, address, provider_id, meaning, text, moment)
)
insert into replies (channel, address, provider_id, message_id, meaning, text, occurred_at, recorded_at)
select c.channel, c.address, c.provider_id, newest.message_id, c.meaning, coalesce(c.text, ''), c.at, cast(:now as timestamptz)
from came c
left join lateral (
    select m.message_id
    from (
        select e.enrollment_id
        from customers p
        join enrollments e using (customer_id)
        where p.phone = c.address and p.phone is not null
        union
        select e.enrollment_id
        from (select distinct mode, journey from cohorts) as known
        join enrollments e on e.mode = known.mode and e.journey = known.journey and e.phone = c.address
    ) as entered
    join messages m using (enrollment_id)
    where m.channel = c.channel and m.address = c.address and m.decision = 'send' and m.planned_at <= c.at
    -- One that went out, if any did: the newest may be waiting for its hour.
    order by exists (select from outcomes o where o.message_id = m.message_id and o.kind in ('accepted', 'unknown')) desc,
             m.planned_at desc, m.message_id desc
    limit 1
) as newest on true
order by c.provider_id
on conflict (provider_id) do nothing
returning channel, address, provider_id, message_id, meaning, extract(epoch from occurred_at)::float8 as moment
