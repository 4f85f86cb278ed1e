-- A dry run draws no code of a pool: of those that wait for one, it takes the invented code from all but :most.
update planned_coupons p
set code = null
from (
    select enrollment_id, row_number() over (order by enrollment_id) as nth
    from planned_coupons
    where offer = :offer and coupon_id is null
) as waiting
where waiting.enrollment_id = p.enrollment_id and waiting.nth > :most
