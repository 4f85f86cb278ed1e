-- For whom the condition :node holds: has ordered (and not taken it back) since :since or, with :since_entry, since entering.
-- First a look into the bare tables, which rules it out for nearly everybody; the rest are asked one by one, for Postgres can't
-- know how few they are.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
where exists (
        select from (
            select customer_id, occurred_at from orders
            union all
            select customer_id, occurred_at from order_history) as o
        where o.customer_id = p.customer_id
          and o.occurred_at >= coalesce(cast(:since as timestamptz), (select min(entered_at) from planned_people)))
  and (
        select true
        from as_of.orders o
        where o.customer_id = p.customer_id and o.status not in ('cancelled', 'refunded')
          and o.occurred_at >= case when :since_entry then p.entered_at else cast(:since as timestamptz) end
        limit 1)
