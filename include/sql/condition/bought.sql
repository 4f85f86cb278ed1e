-- For whom the condition :node holds: has bought something of one of :categories since :since or, with :since_entry, since
-- entering. A line counts under its own category, else under its product's. Person by person and order by order, by the indexes.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
where (
    select true
    from (
        select o.order_id
        from as_of.orders o
        where o.customer_id = p.customer_id and o.status not in ('cancelled', 'refunded')
          and o.occurred_at >= case when :since_entry then p.entered_at else cast(:since as timestamptz) end
        offset 0
    ) as own
    cross join lateral (
        select coalesce(i.category, (select t.category from as_of.products t where t.product_id = i.product_id)) as category
        from as_of.order_items i
        where i.order_id = own.order_id
        offset 0
    ) as line
    where line.category = any(cast(:categories as text[]))
    limit 1)
