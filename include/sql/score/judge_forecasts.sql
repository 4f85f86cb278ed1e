-- Hold the forecasts against the purchases after their instant, until another, as known at a third: by tenths of the score,
-- the highest first. Customers with the same score are spread over the tenths by chance, but always alike.
-- A purchase is what it is in make_purchase_sums: a day with an order that was neither cancelled nor refunded, no credit.
-- What is to be foretold is a purchase or, with :is_silence, that there is none.
with undone as (
    select distinct s.order_id
    from order_status s
    where s.status in ('cancelled', 'refunded') and s.occurred_at <= :until and s.recorded_at <= :known_at
      and not exists (
          select from order_status later
          where later.order_id = s.order_id and later.status not in ('cancelled', 'refunded')
            and later.occurred_at > s.occurred_at and later.occurred_at <= :until and later.recorded_at <= :known_at)
),
happened as (
    select o.customer_id, count(distinct (o.occurred_at at time zone :zone)::date) as times
    from (
        select order_id, customer_id, occurred_at, amount
        from orders
        where occurred_at > :as_of and occurred_at <= :until and recorded_at <= :known_at
        union all
        select order_id, customer_id, occurred_at, amount
        from order_history
        where occurred_at > :as_of and occurred_at <= :until and recorded_at <= :known_at
          and replaced_at > :known_at
    ) as o
    left join lateral (
        select sum(i.amount) as amount
        from (
            select order_id, amount from order_items where recorded_at <= :known_at
            union all
            select order_id, amount from order_item_history where recorded_at <= :known_at and replaced_at > :known_at
        ) as i
        where o.amount is null and i.order_id = o.order_id
    ) as lines on true
    where coalesce(o.amount, lines.amount, 0) >= 0
      and (o.occurred_at at time zone :zone)::date > (:as_of at time zone :zone)::date
      and not exists (select from undone u where u.order_id = o.order_id)
    group by o.customer_id
),
judged as (
    select f.score, f.expected, coalesce(h.times, 0) as times,
           (coalesce(h.times, 0) = 0) = :is_silence as came_true,
           ntile(10) over (order by f.score desc, md5(f.customer_id)) as decile
    from forecasts f
    left join happened h using (customer_id)
)
select decile, count(*) as customers, min(score) as lowest, max(score) as highest, sum(expected) as expected,
       sum(times)::bigint as purchases, count(*) filter (where came_true) as positives,
       count(*) filter (where score >= :threshold) as foretold,
       count(*) filter (where score >= :threshold and came_true) as hits
from judged
group by decile
order by decile
