-- Coupons by journey, step, kind and value. `issued`: their message went out. `ordered`: their owner ordered while one could be
-- used; `cost`: by currency, what it would have taken off the first of these orders, or what the gift costs: at most this, for nobody
-- knows who would have used it; points cost nothing here. History holds no code that a replay made up.
with handed as (
    -- Several messages may speak of one coupon.
    select m.coupon_id, min(o.accepted_at) as accepted_at
    from messages m
    join outbox o using (message_id)
    where m.coupon_id is not null
    group by m.coupon_id
),
held as (
    select c.coupon_id, c.customer_id, e.journey, c.step, c.kind, c.value, c.minimum, c.currency, c.valid_until, handed.accepted_at
    from coupons c
    join enrollments e using (enrollment_id)
    left join handed using (coupon_id)
),
firsts as (
    -- An amount counts in its own currency; lines in several have no sum.
    select distinct on (h.coupon_id) h.coupon_id, paid.amount, coalesce(h.currency, paid.currency) as currency
    from held h
    join orders p
      on p.customer_id = h.customer_id and p.occurred_at > h.accepted_at and p.occurred_at <= h.valid_until
    cross join lateral (
        select coalesce(p.amount, sum(i.amount)) as amount, coalesce(p.currency, min(i.currency)) as currency
        from order_items i
        where i.order_id = p.order_id
        having p.amount is not null or min(i.currency) = max(i.currency)
    ) as paid
    where h.kind = 'gift' and h.minimum is null or h.currency is null
       or paid.currency = h.currency and paid.amount >= coalesce(h.minimum, 0)
    order by h.coupon_id, p.occurred_at, p.order_id
),
costs as (
    select h.journey, h.step, h.kind, h.value, f.currency,
           round(sum(case h.kind
               when 'percent_off' then f.amount * h.value / 100
               when 'amount_off' then least(h.value, f.amount)
               when 'gift' then h.value
           end), 2) as cost
    from held h
    join firsts f using (coupon_id)
    where f.currency is not null
    group by h.journey, h.step, h.kind, h.value, f.currency
)
select h.journey, h.step, h.kind, h.value, count(*) as coupons, count(h.accepted_at) as issued, count(f.coupon_id) as ordered,
       coalesce((select jsonb_object_agg(c.currency, c.cost)
                 from costs c
                 where (c.journey, c.step, c.kind) = (h.journey, h.step, h.kind) and c.value is not distinct from h.value
                   and c.cost is not null), '{}') as cost
from held h
left join firsts f using (coupon_id)
group by h.journey, h.step, h.kind, h.value
order by h.journey, h.step, h.kind, h.value
