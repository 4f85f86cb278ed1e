-- Which of staged_codes can't go into the pool, why, and, of a code that comes twice, in which line it came first. What a
-- customer could take for another code is that code, see coupon_key.
with keyed as (
    select line, coupon_key(code) as key, min(line) over (partition by coupon_key(code)) as first from staged_codes
),
judged as (
    select k.line, k.first,
           case
               when k.line > k.first then 'twice'
               when p.pool = :pool then 'same_pool'
               when p.pool is not null then 'other_pool'
               when exists (
                   select from coupons c where coupon_key(c.code) = k.key and c.state <> 'given_back') then 'given'
               when exists (
                   select from order_items i where coupon_key(i.coupon_code) = k.key and i.coupon_code is not null) then 'on_order'
           end as reason
    from keyed k
    left join pool_codes p on coupon_key(p.code) = k.key
)
select line, first, reason from judged where reason is not null order by line
