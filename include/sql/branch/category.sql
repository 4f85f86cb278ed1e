-- The category of the dearest line of everybody's last order that was not taken back; of a line without one, its product's.
-- Person by person and order by order, by the indexes: each level has an end of its own, or Postgres reads all lines there are.
insert into planned_values (enrollment_id, name, value)
select p.enrollment_id, :name, bought.category
from planned_people p
cross join lateral (
    select line.category
    from (
        select o.order_id, o.occurred_at
        from as_of.orders o
        where o.customer_id = p.customer_id and o.status not in ('cancelled', 'refunded')
        offset 0
    ) as own
    cross join lateral (
        select coalesce(i.category, (select t.category from as_of.products t where t.product_id = i.product_id)) as category,
               i.amount, i.line
        from as_of.order_items i
        where i.order_id = own.order_id
        offset 0
    ) as line
    where line.category is not null
    order by own.occurred_at desc, own.order_id desc, line.amount desc, line.line
    limit 1
) as bought
