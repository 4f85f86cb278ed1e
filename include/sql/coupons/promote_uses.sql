-- Of the orders of each of touched_coupons that are neither undone nor late, the first in time is the one that counts.
update coupon_uses u
set verdict = 'counted'
from (
    select distinct on (u.coupon_id) u.coupon_id, u.order_id
    from coupon_uses u
    join touched_coupons using (coupon_id)
    where u.verdict = 'again'
    order by u.coupon_id, u.occurred_at, u.order_id
) as first
where (u.coupon_id, u.order_id) = (first.coupon_id, first.order_id)
