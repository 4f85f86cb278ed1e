-- For whom the condition :node holds: has bought something of one of :categories since :since or, with :since_entry, since
-- entering. A line counts under its own category, else under its product's.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
where exists (
    select
    from as_of.orders o
    join as_of.order_items i using (order_id)
    left join as_of.products t on t.product_id = i.product_id
    where o.customer_id = p.customer_id and o.status not in ('cancelled', 'refunded')
      and coalesce(i.category, t.category) = any(cast(:categories as text[]))
      and o.occurred_at >= case when :since_entry then p.entered_at else cast(:since as timestamptz) end)
