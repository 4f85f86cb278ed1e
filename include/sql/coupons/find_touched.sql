-- Which coupons there is news about since :since - of an order with their code, of its items or of what became of it, of a merge,
-- or because they are new or their time is over - in the temporary table
-- touched_coupons. Facts come in with the moment at which their load began,
-- so :since lies well before the last look. :is_whole: all of them.
create temporary table touched_coupons on commit drop as
with merged as (
    select kept_id as customer_id from customer_merges where merged_at > :since or undone_at > :since
    union
    select merged_id from customer_merges where undone_at > :since
),
touched_orders as (
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
),
keys as (
    select coupon_key(coupon_code) as key
    from order_items
    where coupon_code is not null and (:is_whole or order_id in (select order_id from touched_orders))
    union
    select coupon_key(coupon_code)
    from order_item_history
    where coupon_code is not null and (:is_whole or order_id in (select order_id from touched_orders))
)
select k.coupon_id
from coupons k
where k.reserved_at <= :as_of and k.state <> 'given_back' and coupon_key(k.code) in (select key from keys)
union
select coupon_id from coupon_uses where :is_whole or order_id in (select order_id from touched_orders)
union
select k.coupon_id
from coupons k
join order_items i on coupon_key(i.coupon_code) = coupon_key(k.code) and i.coupon_code is not null
where k.reserved_at > :since and k.reserved_at <= :as_of and k.state <> 'given_back'
union
select k.coupon_id from coupons k join merged using (customer_id) join coupon_uses using (coupon_id)
union
select coupon_id from coupons where state in ('reserved', 'issued') and counts_until < :as_of
union
select coupon_id from coupons where :is_whole and state in ('redeemed', 'expired')
