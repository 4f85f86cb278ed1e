-- Each customer's rhythm of purchases as of :as_of, in the temporary table rhythms: the last day and moment bought, how many
-- intervals between days there are and their median, and how many orders since :undone_from were placed and came to nothing.
-- Who never bought is not in it. :one null is everybody. A credit (below nothing) is no order; one without a total is.
create temporary table rhythms on commit drop as
with known_orders as not materialized (
    select order_id, customer_id, occurred_at
    from orders
    where occurred_at <= :as_of and recorded_at <= :known_at and coalesce(amount, 0) >= 0
      and (cast(:one as text) is null or customer_id = :one)
    union all
    select order_id, customer_id, occurred_at
    from order_history
    where occurred_at <= :as_of and recorded_at <= :known_at and replaced_at > :known_at and coalesce(amount, 0) >= 0
      and (cast(:one as text) is null or customer_id = :one)
),
undone as (
    select distinct s.order_id
    from order_status s
    where s.status in ('cancelled', 'refunded') and s.occurred_at <= :as_of and s.recorded_at <= :known_at
      and (cast(:one as text) is null or s.order_id = any(array(select order_id from known_orders)))
      and not exists (
          select from order_status later
          where later.order_id = s.order_id and later.status not in ('cancelled', 'refunded')
            and later.occurred_at > s.occurred_at and later.occurred_at <= :as_of and later.recorded_at <= :known_at)
),
gaps as (
    -- Orders that came to nothing lie behind all others, so that no interval ends at one.
    select customer_id, day, occurred_at, is_undone,
           case when not is_undone then day - lag(day) over (partition by customer_id order by is_undone, day) end as days
    from (
        select o.customer_id, o.occurred_at, (o.occurred_at at time zone :zone)::date as day,
               u.order_id is not null as is_undone
        from known_orders o
        left join undone u using (order_id)
    ) as marked
)
select customer_id, max(day) filter (where not is_undone) as last_on,
       max(occurred_at) filter (where not is_undone) as last_order_at,
       cast(count(*) filter (where days > 0) as integer) as intervals,
       percentile_cont(0.5) within group (order by days) filter (where days > 0) as own_days,
       cast(count(*) filter (where occurred_at > :undone_from) as integer) as placed,
       cast(count(*) filter (where occurred_at > :undone_from and is_undone) as integer) as undone
from gaps
group by customer_id
having count(*) filter (where not is_undone) > 0
