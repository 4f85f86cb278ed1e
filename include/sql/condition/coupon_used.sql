-- For whom the condition :node holds: has used a code of an earlier step, as of the decision instant: it stands on an order of
-- theirs in time, one that was not cancelled or refunded. Written like coupon_unused.sql, and for the same reason.
insert into planned_conditions (node, enrollment_id)
with hers as materialized (
    select k.coupon_id, k.enrollment_id, k.counts_until, coupon_key(k.code) as key
    from coupons k
    where k.enrollment_id between (select min(enrollment_id) from planned_people) and (select max(enrollment_id) from planned_people)
      and k.state <> 'given_back'
),
on_orders as materialized (
    select coupon_id, enrollment_id, counts_until, key
    from hers h
    where case
              when exists (select from order_items i
                           where coupon_key(i.coupon_code) = h.key and i.coupon_code is not null) then true
              else exists (select from order_item_history i
                           where coupon_key(i.coupon_code) = h.key and i.coupon_code is not null)
          end
),
used as materialized (
    select h.enrollment_id
    from on_orders h
    join planned_people p using (enrollment_id)
    where exists (
        select from as_of.order_items i
        join as_of.orders o using (order_id)
        where coupon_key(i.coupon_code) = h.key and i.coupon_code is not null and i.customer_id = p.customer_id
          and o.occurred_at <= h.counts_until and o.status not in ('cancelled', 'refunded'))
)
select :node, p.enrollment_id
from planned_people p
where case when p.enrollment_id in (select enrollment_id from used) then true else false end
