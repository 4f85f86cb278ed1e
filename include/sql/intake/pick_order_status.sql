-- The staged states of orders, each once: the temporary table incoming_order_status. A row with a time of its own is that
-- event; one without says how the order stands now, and is news only if it stood otherwise.
create temporary table incoming_order_status on commit drop as
with dated as (
    select distinct order_id, status, occurred_at from staged_order_status where occurred_at is not null and not is_gone
),
standing as (
    select distinct on (order_id) order_id, status
    from staged_order_status
    where occurred_at is null and not is_gone
    order by order_id, row_line desc
)
select d.order_id, d.status, d.occurred_at,
       not exists (
           select from order_status o
           where o.order_id = d.order_id and o.status = d.status and o.occurred_at = d.occurred_at) as is_new
from dated d
union all
select s.order_id, s.status, :now,
       s.status <> coalesce((
           select o.status from order_status o
           where o.order_id = s.order_id
           order by o.occurred_at desc,
                    array_position(array['placed', 'paid', 'delivered', 'cancelled', 'refunded'], o.status) desc
           limit 1), 'placed') as is_new
from standing s
