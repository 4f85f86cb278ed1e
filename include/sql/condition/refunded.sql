-- For whom the condition :node holds: an order of theirs was cancelled or refunded since entering. :first_entered_at: when the
-- first of them entered. The bare tables first, then one by one, as in ordered.sql.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
where exists (
        select from (
            select order_id, customer_id from orders
            union all
            select order_id, customer_id from order_history) as o
        join order_status s using (order_id)
        where o.customer_id = p.customer_id and s.status in ('cancelled', 'refunded') and s.occurred_at >= :first_entered_at)
  and (
        select true
        from as_of.orders o
        join as_of.order_status s using (order_id)
        where o.customer_id = p.customer_id and s.status in ('cancelled', 'refunded') and s.occurred_at >= p.entered_at
        limit 1)
