-- For whom the condition :node holds: has ordered (and not taken it back) since :since or, with :since_entry, since entering.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
where p.customer_id in (select customer_id from orders union all select customer_id from order_history)
  and exists (
      select from as_of.orders o
      where o.customer_id = p.customer_id and o.status not in ('cancelled', 'refunded')
        and o.occurred_at >= case when :since_entry then p.entered_at else cast(:since as timestamptz) end)
