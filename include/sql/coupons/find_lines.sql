-- Every order that one of touched_coupons' codes stands on, or ever stood on, whenever that was learned, with what its coupon is, in
-- the temporary table touched_lines; as_of is asked of these alone.
create temporary table touched_lines on commit drop as
select t.coupon_id, i.order_id, coupon_key(k.code) as key, k.customer_id, k.kind, k.value, k.currency, k.counts_until
from touched_coupons t
join coupons k using (coupon_id)
join order_items i on coupon_key(i.coupon_code) = coupon_key(k.code) and i.coupon_code is not null
where k.state <> 'given_back'
union
select t.coupon_id, i.order_id, coupon_key(k.code), k.customer_id, k.kind, k.value, k.currency, k.counts_until
from touched_coupons t
join coupons k using (coupon_id)
join order_item_history i on coupon_key(i.coupon_code) = coupon_key(k.code) and i.coupon_code is not null
where k.state <> 'given_back'
