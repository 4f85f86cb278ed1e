-- The codes of orders with news since :since - of an order, its items, what became of it, or of a merge - as keys that compare,
-- in the temporary table touched_keys. Facts come in with the moment at which their load began, so :since lies well before
-- the last look.
create temporary table touched_keys on commit drop as
with merged as (
    select kept_id as customer_id from customer_merges where merged_at > :since or undone_at > :since
    union
    select merged_id from customer_merges where undone_at > :since
),
touched_orders as materialized (
    select order_id from order_items where recorded_at > :since and coupon_code is not null
    union
    select order_id from order_item_history where replaced_at > :since and coupon_code is not null
    union
    select order_id from orders where recorded_at > :since or occurred_at > :since
    union
    select order_id from order_history where replaced_at > :since
    union
    select order_id from order_status where recorded_at > :since or occurred_at > :since
    union
    select o.order_id from orders o join merged using (customer_id)
)
select coupon_key(i.coupon_code) as key
from touched_orders
join order_items i using (order_id)
where i.coupon_code is not null
union
select coupon_key(i.coupon_code)
from touched_orders
join order_item_history i using (order_id)
where i.coupon_code is not null
union
select coupon_key(k.code)
from touched_orders
join coupon_uses u using (order_id)
join coupons k using (coupon_id)
union
select coupon_key(k.code) from coupons k join merged using (customer_id)
