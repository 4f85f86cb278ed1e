-- Append what is new. Returns the counts: new, changed, same, repeated, older, gone.
with added as (
    insert into order_status (order_id, status, occurred_at, recorded_at)
    select order_id, status, occurred_at, case when :is_history then least(occurred_at, :now) else :now end
    from incoming_order_status
    where is_new
    order by order_id, occurred_at
    on conflict do nothing
    returning 1
)
select (select count(*) from added) as new, 0 as changed, 0 as gone, 0 as older,
       count(*) - (select count(*) from added) as same,
       (select count(*) from staged_order_status) - count(*) as repeated
from incoming_order_status
