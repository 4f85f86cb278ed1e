-- For whom the condition :node holds: has used a code of an earlier step, as of the decision instant: it stands on an order of
-- theirs in time, one that was not cancelled or refunded.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
-- Few have a code on any order at all: that is one look into an index, and as_of is asked of those alone.
where exists (
        select from coupons k
        where k.enrollment_id = p.enrollment_id and k.state <> 'given_back'
          and (exists (select from order_items i
                       where coupon_key(i.coupon_code) = coupon_key(k.code) and i.coupon_code is not null)
               or exists (select from order_item_history i
                          where coupon_key(i.coupon_code) = coupon_key(k.code) and i.coupon_code is not null)))
  and exists (
        select from coupons k
        join as_of.order_items i on coupon_key(i.coupon_code) = coupon_key(k.code) and i.coupon_code is not null
        join as_of.orders o using (order_id)
        where k.enrollment_id = p.enrollment_id and k.state <> 'given_back' and i.customer_id = p.customer_id
          and o.occurred_at <= k.counts_until and o.status not in ('cancelled', 'refunded'))
