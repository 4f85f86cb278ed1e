-- Coupons by journey, step, kind and value. `issued`: their message went out. `ordered`: their owner ordered while one could be
-- used; `cost`: what it would have taken off the first of these orders, in the orders' own amounts, or what the gift costs: at most
-- this, for nobody knows who would have used it; points cost nothing here. History holds no code that a replay made up.
with held as (
    select c.coupon_id, c.customer_id, e.journey, c.step, c.kind, c.value, c.minimum, c.valid_until, o.accepted_at
    from coupons c
    join enrollments e using (enrollment_id)
    left join messages m on m.coupon_id = c.coupon_id
    left join outbox o using (message_id)
),
firsts as (
    select distinct on (h.coupon_id) h.coupon_id, coalesce(p.amount, lines.amount, 0) as amount
    from held h
    join orders p
      on p.customer_id = h.customer_id and p.occurred_at > h.accepted_at and p.occurred_at <= h.valid_until
    left join lateral (select sum(i.amount) as amount from order_items i where i.order_id = p.order_id) as lines on true
    where coalesce(p.amount, lines.amount, 0) >= coalesce(h.minimum, 0)
    order by h.coupon_id, p.occurred_at, p.order_id
)
select h.journey, h.step, h.kind, h.value, count(distinct h.coupon_id) as coupons,
       count(distinct h.coupon_id) filter (where h.accepted_at is not null) as issued,
       count(distinct f.coupon_id) as ordered,
       round(coalesce(sum(case h.kind
           when 'percent_off' then f.amount * h.value / 100
           when 'amount_off' then least(h.value, f.amount)
           when 'gift' then case when f.coupon_id is not null then h.value end
       end), 0), 2) as cost
from held h
left join firsts f using (coupon_id)
group by h.journey, h.step, h.kind, h.value
order by h.journey, h.step, h.kind, h.value
