-- The staged events, each once, with the key that makes a repeated load harmless: the source's own or, where it has none,
-- a hash of all that the event says. The temporary table incoming_events.
create temporary table incoming_events on commit drop as
with keyed as (
    select *,
           cast(:source as text) || case
               when source_key is not null then ':' || source_key
               else ':#' || encode(sha256(convert_to(
                   concat_ws('|', coalesce(named_id, customer_id), kind, extract(epoch from occurred_at), data), 'UTF8')), 'hex')
           end as full_key
    from staged_events
    where not is_gone
)
select distinct on (full_key) full_key, named_id, customer_id, kind, occurred_at,
       jsonb_strip_nulls(coalesce(data, '{}')) as data
from keyed
order by full_key, row_line desc
