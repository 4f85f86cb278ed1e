-- The orders of touched_lines that the coupons of touched_coupons stand on as of the instant that as_of is set to, instead of those that were
-- known before.
--
-- The first order in time counts. One that was cancelled or refunded never does, nor does one after the coupon's time, or a
-- further one. What a percentage gave away is reckoned from what was paid; nobody can tell what a free order would have cost.
with lines as materialized (
    select distinct l.coupon_id, l.order_id
    from touched_lines l
    join as_of.order_items i using (order_id)
    where i.coupon_code is not null and coupon_key(i.coupon_code) = l.key
),
totals as (
    -- In one currency, or nobody knows.
    select i.order_id, sum(i.amount) as amount, min(i.currency) as currency
    from (select distinct order_id from touched_lines) as l
    join as_of.order_items i using (order_id)
    group by i.order_id
    having min(i.currency) = max(i.currency)
),
uses as (
    select l.coupon_id, l.order_id, o.occurred_at, o.customer_id <> k.customer_id as is_shared,
           o.status in ('cancelled', 'refunded') as is_undone, o.occurred_at > k.counts_until as is_late,
           case k.kind
               when 'percent_off' then case when k.value < 100 then round(coalesce(o.amount, t.amount) * k.value / (100 - k.value), 4) end
               when 'points' then null
               else k.value
           end as cost,
           case k.kind when 'percent_off' then coalesce(o.currency, t.currency) when 'points' then null else k.currency end as currency
    from lines l
    join coupons k using (coupon_id)
    join as_of.orders o using (order_id)
    left join totals t using (order_id)
),
judged as (
    -- Only one may count at a time: which, promote_uses.sql says when all are there.
    select u.coupon_id, u.order_id, u.occurred_at, u.is_shared,
           case when is_undone then 'undone' when is_late then 'late' else 'again' end as verdict,
           case when not is_undone then cost end as cost, case when not is_undone then currency end as currency
    from uses u
),
gone as (
    delete from coupon_uses u
    using touched_coupons t
    where t.coupon_id = u.coupon_id
      and not exists (select from judged j where (j.coupon_id, j.order_id) = (u.coupon_id, u.order_id))
)
insert into coupon_uses (coupon_id, order_id, verdict, is_shared, cost, currency, occurred_at)
select coupon_id, order_id, verdict, is_shared, cost, currency, occurred_at from judged
on conflict (coupon_id, order_id) do update
    set (verdict, is_shared, cost, currency, occurred_at) =
        (excluded.verdict, excluded.is_shared, excluded.cost, excluded.currency, excluded.occurred_at)
