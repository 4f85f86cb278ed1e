-- Append what customers did, as the shop tells it, each event once and under the id a customer goes on under. Returns by
-- slot how many were new, and the places (from 1) of those whose kind is not in the registry: they are not appended.
with recursive told as (
    select t.*, k.kind is not null as is_known
    from unnest(
        cast(:slots as integer[]), string_to_array(:source_keys, e'\x1f'), string_to_array(:customers, e'\x1f'),
        string_to_array(:kinds, e'\x1f'), cast(:moments as float8[]), string_to_array(:data, e'\x1f'))
        with ordinality as t (slot, source_key, customer_id, said_kind, moment, data, place)
    left join event_kinds k on k.kind = t.said_kind
),
chain as (
    select g.merged_id, g.kept_id
    from customer_merges g
    where g.undone_at is null and g.merged_id in (select customer_id from told)
    union
    select c.merged_id, g.kept_id
    from chain c
    join customer_merges g on g.merged_id = c.kept_id and g.undone_at is null
),
added as (
    insert into events (customer_id, kind, occurred_at, recorded_at, source_key, data)
    select coalesce(
               (select c.kept_id from chain c
                where c.merged_id = t.customer_id
                  and not exists (
                      select from customer_merges g where g.merged_id = c.kept_id and g.undone_at is null)),
               t.customer_id),
           t.said_kind, to_timestamp(t.moment), :now, t.source_key, cast(t.data as jsonb)
    from told t
    where t.is_known
    order by t.source_key
    on conflict (source_key) where source_key is not null do nothing
    returning source_key
)
select t.slot, count(a.source_key) as fresh, array_agg(t.place) filter (where not t.is_known) as places
from told t
left join added a using (source_key)
group by t.slot
