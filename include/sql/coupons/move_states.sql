-- What the coupons of touched_coupons are as of :as_of: redeemed where an order counts, else expired when their time is over,
-- else issued. Reserved stays reserved until a provider's answer, an order or the end. Returns state, coupons: how many came to it.
with judged as (
    select k.coupon_id, k.state as before,
           case
               when u.coupon_id is not null then 'redeemed'
               when k.counts_until < :as_of then 'expired'
               when k.state = 'reserved' then 'reserved'
               else 'issued'
           end as state
    from touched_coupons
    join coupons k using (coupon_id)
    left join coupon_uses u on u.coupon_id = k.coupon_id and u.verdict = 'counted'
    where k.state <> 'given_back'
),
moved as (
    update coupons k
    set state = j.state, state_at = :now
    from judged j
    where k.coupon_id = j.coupon_id and j.state <> j.before
    returning k.state
)
select state, count(*) as coupons from moved group by state order by state
