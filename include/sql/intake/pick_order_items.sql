-- The staged lines of orders, one row each (the last one counts), beside what is known: the temporary table
-- incoming_order_items. Lines without a number are numbered within their order as they stand in the source.
create temporary table incoming_order_items on commit drop as
with numbered as (
    select s.order_id,
           coalesce(s.line, row_number() over (partition by s.order_id, s.line is null order by s.row_line)::int) as line,
           s.product_id, s.category, s.quantity, s.amount, s.currency, s.coupon_code, s.occurred_at, s.is_gone, s.row_line
    from staged_order_items s
),
last as (
    select distinct on (order_id, line) * from numbered order by order_id, line, row_line desc
),
wanted as (
    select s.order_id, s.line, s.quantity, s.amount, s.currency, s.occurred_at, s.is_gone,
           case when 'product_id' = any(m.mapped) then s.product_id else i.product_id end as product_id,
           case when 'category' = any(m.mapped) then s.category else i.category end as category,
           case when 'coupon_code' = any(m.mapped) then s.coupon_code else i.coupon_code end as coupon_code,
           i.order_id is null as is_new, i.product_id as old_product, i.category as old_category,
           i.quantity as old_quantity, i.amount as old_amount, i.currency as old_currency, i.coupon_code as old_code
    from last s
    cross join (select cast(:mapped as text[]) as mapped) as m
    left join order_items i on i.order_id = s.order_id and i.line = s.line
)
select order_id, line, product_id, category, quantity, amount, currency, coupon_code, is_gone, is_new,
       not is_new and (product_id, category, quantity, amount, currency, coupon_code)
                      is distinct from (old_product, old_category, old_quantity, old_amount, old_currency, old_code)
           as is_changed,
       case when :is_history then least(occurred_at, :now) else :now end as recorded_at
from wanted
