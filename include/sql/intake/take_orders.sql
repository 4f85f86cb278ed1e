-- Take over what came in: new orders, corrected ones (a trigger keeps what was), those that are gone at their source
-- (kept as history). Returns the counts: new, changed, same, repeated, older, gone.
with gone as (
    delete from orders o using incoming_orders i
    where i.order_id = o.order_id and i.is_gone
    returning o.*
),
kept as (
    insert into order_history (order_id, customer_id, amount, currency, source, occurred_at, recorded_at, replaced_at)
    select order_id, customer_id, amount, currency, source, occurred_at, recorded_at, :now from gone
    on conflict (order_id, replaced_at) do nothing
),
changed as (
    update orders o
    set customer_id = i.customer_id, occurred_at = i.occurred_at, amount = i.amount, currency = i.currency,
        source = :source, recorded_at = i.recorded_at
    from incoming_orders i
    where i.order_id = o.order_id and i.is_changed and not i.is_gone
    returning 1
),
added as (
    insert into orders (order_id, customer_id, occurred_at, amount, currency, source, recorded_at)
    select order_id, customer_id, occurred_at, amount, currency, :source, recorded_at
    from incoming_orders
    where is_new and not is_gone
    order by order_id
    returning 1
)
select (select count(*) from added) as new, (select count(*) from changed) as changed,
       (select count(*) from gone) as gone, 0 as older,
       count(*) - (select count(*) from added) - (select count(*) from changed) - (select count(*) from gone) as same,
       (select count(*) from staged_orders) - count(*) as repeated
from incoming_orders
