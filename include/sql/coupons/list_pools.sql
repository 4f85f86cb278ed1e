-- Every pool with its codes by what became of them, and how many were dealt a day since :since (see find_rate.sql).
with free as (
    select pool, count(*) filter (where valid_until is null or valid_until > :now) as left,
           count(*) filter (where valid_until <= :now) as lapsed
    from pool_codes
    group by pool
),
dealt as (
    select pool, count(*) filter (where state = 'reserved') as reserved, count(*) filter (where state = 'issued') as issued,
           count(*) filter (where state = 'redeemed') as redeemed, count(*) filter (where state = 'expired') as expired,
           count(*) filter (where reserved_at > :since and reserved_at <= :now)
               / greatest(1, least(:days, extract(epoch from cast(:now as timestamptz)
                   - min(reserved_at) filter (where reserved_at > :since)) / 86400)) as a_day
    from coupons
    where pool is not null
    group by pool
)
select pool, coalesce(f.left, 0) as left, coalesce(f.lapsed, 0) as lapsed, coalesce(d.reserved, 0) as reserved,
       coalesce(d.issued, 0) as issued, coalesce(d.redeemed, 0) as redeemed, coalesce(d.expired, 0) as expired,
       cast(coalesce(d.a_day, 0) as float8) as a_day
from free f
full join dealt d using (pool)
order by pool
