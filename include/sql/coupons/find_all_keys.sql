-- The codes of all orders, as keys that compare, in the temporary table touched_keys.
create temporary table touched_keys on commit drop as
select coupon_key(coupon_code) as key from order_items where coupon_code is not null
union
select coupon_key(coupon_code) from order_item_history where coupon_code is not null
