-- Note that coupons were held against orders.
insert into coupon_matches (as_of, matched_at, is_whole, looked_at, changed)
values (:as_of, :now, :is_whole, :looked_at, :changed)
