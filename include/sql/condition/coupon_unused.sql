-- For whom the condition :node holds: has an unused code of an earlier step that is good at :due_at. Used: it stands on an
-- order of theirs.
--
-- Nobody has counted the coupons of a cohort whose states have just changed: CASE and IN keep Postgres to one look into an
-- index for each, whatever it takes their number to be. The enrollments of a cohort lie together.
insert into planned_conditions (node, enrollment_id)
with hers as materialized (
    select k.coupon_id, k.enrollment_id, coupon_key(k.code) as key
    from coupons k
    where k.enrollment_id between (select min(enrollment_id) from planned_people) and (select max(enrollment_id) from planned_people)
      and k.state = 'issued' and k.valid_until > :due_at
),
on_orders as materialized (
    -- Few codes are on any order at all; as_of is asked of those alone.
    select coupon_id, enrollment_id, key
    from hers h
    where case
              when exists (select from order_items i
                           where coupon_key(i.coupon_code) = h.key and i.coupon_code is not null) then true
              else exists (select from order_item_history i
                           where coupon_key(i.coupon_code) = h.key and i.coupon_code is not null and i.replaced_at > :seen_at)
          end
),
used as materialized (
    select o.coupon_id
    from on_orders o
    join planned_people p using (enrollment_id)
    where exists (
        select from as_of.order_items i
        where coupon_key(i.coupon_code) = o.key and i.coupon_code is not null and i.customer_id = p.customer_id)
)
select :node, p.enrollment_id
from planned_people p
where case when p.enrollment_id in (
    select enrollment_id from hers where coupon_id not in (select coupon_id from used)) then true else false end
