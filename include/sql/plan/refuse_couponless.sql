-- Whoever of planned_decisions has no coupon to speak of is given the reason no_coupon: on every channel where the step gives
-- one (:gives), else on those whose words speak of one (:speaking).
update planned_decisions d
set reason = 'no_coupon'
where d.reason is null and (:gives or d.channel = any(cast(:speaking as text[])))
  -- Of several coupons one may be none, on purpose.
  and not exists (
      select from planned_offers p
      where p.enrollment_id = d.enrollment_id and p.offer is null and d.channel <> all(cast(:speaking as text[])))
  and not exists (
      select from planned_coupons c
      where c.enrollment_id = d.enrollment_id and (c.coupon_id is not null or c.code is not null))
