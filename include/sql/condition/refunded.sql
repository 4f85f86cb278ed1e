-- For whom the condition :node holds: an order of theirs was cancelled or refunded since entering. :first_entered_at: when the
-- first of them entered.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
where p.customer_id in (
          select o.customer_id
          from order_status s
          join (select order_id, customer_id from orders
                union all select order_id, customer_id from order_history) as o using (order_id)
          where s.status in ('cancelled', 'refunded') and s.occurred_at >= :first_entered_at)
  and exists (
      select from as_of.orders o
      join as_of.order_status s using (order_id)
      where o.customer_id = p.customer_id and s.status in ('cancelled', 'refunded') and s.occurred_at >= p.entered_at)
