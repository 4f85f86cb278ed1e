-- The sums as of :as_of of the customers in scratch_touched, by the same rules as sum_all_orders and sum_all_activity, in the
-- temporary table scratch_sums; what did not change is taken from customer_sums. is_customer: is one, as of then.
create temporary table scratch_sums on commit drop as
select t.customer_id,
       exists (select from customers c
               where c.customer_id = t.customer_id and c.recorded_at <= :known_at
                 and (c.occurred_at <= :as_of
                      or exists (select from customer_history h
                                 where h.customer_id = c.customer_id and h.occurred_at <= :as_of)))
       or exists (select from customer_history c
                  where c.customer_id = t.customer_id and c.recorded_at <= :known_at and c.replaced_at > :known_at
                    and (c.occurred_at <= :as_of
                         or exists (select from customer_history h
                                    where h.customer_id = c.customer_id and h.occurred_at <= :as_of
                                      and h.replaced_at <= c.recorded_at))) as is_customer,
       case when t.by_orders then o.first_order_at else p.first_order_at end as first_order_at,
       case when t.by_orders then o.last_order_at else p.last_order_at end as last_order_at,
       case when t.by_orders then cast(o.orders as integer) else coalesce(p.orders, 0) end as orders,
       case when t.by_orders then cast(coalesce(o.units, 0) as numeric) / 10000 else coalesce(p.amount, 0) end as amount,
       case when t.by_orders then cast(o.orders_before as integer) else coalesce(p.orders_before, 0) end as orders_before,
       case when t.by_orders then cast(coalesce(o.units_before, 0) as numeric) / 10000
            else coalesce(p.amount_before, 0) end as amount_before,
       case when t.by_orders then cast(o.returns as integer) else coalesce(p.returns, 0) end as returns,
       case when t.by_orders then cast(o.unpriced_orders as integer) else coalesce(p.unpriced_orders, 0) end as unpriced_orders,
       case when t.by_activity then cast(a.logins as integer) else coalesce(p.logins, 0) end as logins,
       case when t.by_activity then cast(a.views as integer) else coalesce(p.views, 0) end as views,
       case when t.by_activity then cast(a.carts as integer) else coalesce(p.carts, 0) end as carts,
       case when t.by_activity then cast(a.participations as integer) else coalesce(p.participations, 0) end as participations,
       case when t.by_activity then cast(a.community as integer) else coalesce(p.community, 0) end as community,
       case when t.by_activity then a.last_login_at else p.last_login_at end as last_login_at
from scratch_touched t
left join customer_sums p using (customer_id)
cross join lateral (
    select min(occurred_at) filter (where amount >= 0) as first_order_at,
           max(occurred_at) filter (where amount >= 0) as last_order_at,
           count(*) filter (where occurred_at > :orders_from and amount >= 0) as orders,
           sum_units(units) filter (where occurred_at > :orders_from) as units,
           count(*) filter (where occurred_at <= :orders_from and amount >= 0) as orders_before,
           sum_units(units) filter (where occurred_at <= :orders_from) as units_before,
           count(*) filter (where occurred_at > :orders_from and amount < 0) as returns,
           count(*) filter (where occurred_at > :orders_from and units is null) as unpriced_orders
    from (
        select known.occurred_at, coalesce(known.amount, lines.amount, 0) as amount,
               case when known.amount is null then cast(lines.amount * 10000 as bigint)
                    when known.currency = :currency then cast(known.amount * 10000 as bigint)
                    else cast(known.amount * cast(cast(:rates as jsonb) ->> known.currency as numeric) * 10000 as bigint)
               end as units
        from (
            select order_id, occurred_at, amount, currency
            from orders
            where customer_id = t.customer_id and t.by_orders and occurred_at <= :as_of and recorded_at <= :known_at
            union all
            select order_id, occurred_at, amount, currency
            from order_history
            where customer_id = t.customer_id and t.by_orders and occurred_at <= :as_of and recorded_at <= :known_at
              and replaced_at > :known_at
        ) as known
        cross join lateral (
            select cast(case when count(*) = count(worth) then sum(worth) end as numeric(18, 4)) as amount
            from (
                select i.amount * case when i.currency = :currency then 1
                                       else cast(cast(:rates as jsonb) ->> i.currency as numeric) end as worth
                from order_items i
                where known.amount is null and i.order_id = known.order_id and i.recorded_at <= :known_at
                union all
                select i.amount * case when i.currency = :currency then 1
                                       else cast(cast(:rates as jsonb) ->> i.currency as numeric) end as worth
                from order_item_history i
                where known.amount is null and i.order_id = known.order_id and i.recorded_at <= :known_at
                  and i.replaced_at > :known_at
            ) as line
        ) as lines
        where not exists (
            select from order_status b
            where b.order_id = known.order_id and b.status in ('cancelled', 'refunded')
              and b.occurred_at <= :as_of and b.recorded_at <= :known_at
              and coalesce((select max(s.occurred_at) from order_status s
                            where s.order_id = b.order_id and s.occurred_at > b.occurred_at
                              and s.status not in ('cancelled', 'refunded')
                              and s.occurred_at <= :as_of and s.recorded_at <= :known_at), b.occurred_at) = b.occurred_at
            offset 0)
    ) as placed
) as o
cross join lateral (
    select count(*) filter (where kind = 'login') as logins, count(*) filter (where kind = 'view') as views,
           count(*) filter (where kind = 'cart') as carts,
           count(*) filter (where kind = 'participation') as participations,
           count(*) filter (where kind = 'community') as community,
           max(occurred_at) filter (where kind = 'login') as last_login_at
    from events
    where customer_id = t.customer_id and t.by_activity
      and occurred_at > :activity_from and occurred_at <= :as_of and recorded_at <= :known_at
      and kind in ('login', 'view', 'cart', 'participation', 'community')
) as a
