-- Deal codes of a pool to those of planned_coupons who wait for one: those that end soonest first. Codes that another plan is
-- dealing at this moment are passed over, so nobody waits and no code is dealt twice; they leave the pool with this transaction.
with waiting as materialized (
    select enrollment_id, row_number() over (order by enrollment_id) as nth
    from planned_coupons
    where offer = :offer and coupon_id is null
),
free as materialized (
    select code_id
    from pool_codes
    where pool = :pool and (valid_until is null or valid_until > :least_until)
    order by valid_until, code_id
    limit (select count(*) from waiting)
    for update skip locked
),
taken as (
    delete from pool_codes where code_id in (select code_id from free)
    returning code_id, code, valid_until
),
dealt as (
    select code, valid_until, row_number() over (order by valid_until, code_id) as nth from taken
)
update planned_coupons p
set code = d.code, pool_until = d.valid_until, valid_until = least(p.valid_until, d.valid_until)
from waiting w
join dealt d using (nth)
where p.enrollment_id = w.enrollment_id
