-- The coupons to be looked at, in the temporary table touched_coupons: those with one of touched_keys, new ones since :since,
-- those whose time is over as of :as_of, and, if :is_whole, those that came to something before.
create temporary table touched_coupons on commit drop as
select k.coupon_id
from coupons k
join touched_keys t on t.key = coupon_key(k.code)
where k.state <> 'given_back' and k.reserved_at <= :as_of
union
select coupon_id
from coupons
where reserved_at > :since and reserved_at <= :as_of and state <> 'given_back' and not :is_whole
union
select coupon_id from coupons where state in ('reserved', 'issued') and counts_until < :as_of
union
select coupon_id from coupons where :is_whole and state in ('redeemed', 'expired')
