-- Append the events that are not there yet. Returns the counts: new, changed, same, repeated, older, gone.
with added as (
    insert into events (customer_id, kind, occurred_at, recorded_at, source_key, data)
    select customer_id, kind, occurred_at, case when :is_history then least(occurred_at, :now) else :now end, full_key,
           data
    from incoming_events
    order by occurred_at, full_key
    on conflict (source_key) where source_key is not null do nothing
    returning 1
)
select (select count(*) from added) as new, 0 as changed, 0 as gone, 0 as older,
       count(*) - (select count(*) from added) as same,
       (select count(*) from staged_events) - count(*) as repeated
from incoming_events
