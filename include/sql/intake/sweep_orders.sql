-- Orders of this source that its complete list (present_orders) no longer names leave; their last state is kept as history.
-- Returns how many are missing, and how many left (none if more than :most are missing).
with missing as (
    select o.order_id from orders o
    where o.source = :source and not exists (select from present_orders p where p.order_id = o.order_id)
),
gone as (
    delete from orders o using missing m
    where o.order_id = m.order_id and (select count(*) from missing) <= :most
    returning o.*
),
kept as (
    insert into order_history (order_id, customer_id, amount, currency, source, occurred_at, recorded_at, replaced_at)
    select order_id, customer_id, amount, currency, source, occurred_at, recorded_at, :now from gone
    on conflict (order_id, replaced_at) do nothing
)
select (select count(*) from missing) as missing, (select count(*) from gone) as gone
