-- Forget which orders touched_coupons stand on: match_uses.sql puts it down anew.
delete from coupon_uses u using touched_coupons t where t.coupon_id = u.coupon_id
