-- For whom the condition :node holds: has an unused code of an earlier step that is good at :due_at. Used: it stands on an
-- order of theirs.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
where exists (
        select from coupons k
        where k.enrollment_id = p.enrollment_id and k.state = 'issued' and k.valid_until > :due_at)
  -- One of her codes stands on an order: is that hers, and has she no other code?
  and (not (exists (
                select from coupons k
                join order_items i on coupon_key(i.coupon_code) = coupon_key(k.code)
                where k.enrollment_id = p.enrollment_id)
            or p.enrollment_id in (
                select k.enrollment_id from coupons k
                join order_item_history i on coupon_key(i.coupon_code) = coupon_key(k.code)
                where i.replaced_at > :seen_at))
       or exists (
            select from coupons k
            where k.enrollment_id = p.enrollment_id and k.state = 'issued' and k.valid_until > :due_at
              and not exists (
                  select from as_of.order_items i
                  where coupon_key(i.coupon_code) = coupon_key(k.code) and i.customer_id = p.customer_id)))
