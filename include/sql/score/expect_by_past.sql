-- What stands in for expected value while there is no model at all: what everybody spent since :from_at, in :currency, less by
-- their points of churn, in the temporary table expected. Cancelled and refunded orders are left out; credits are taken off.
create temporary table expected on commit drop as
with members as (
    select customer_id from customers
    where recorded_at <= :known_at and (cast(:one as text) is null or customer_id = :one)
      and (occurred_at <= :as_of
           or exists (select from customer_history h
                      where h.customer_id = customers.customer_id and h.occurred_at <= :as_of))
    union
    select customer_id from customer_history c
    where recorded_at <= :known_at and replaced_at > :known_at and (cast(:one as text) is null or customer_id = :one)
      and (occurred_at <= :as_of
           or exists (select from customer_history h
                      where h.customer_id = c.customer_id and h.occurred_at <= :as_of and h.replaced_at <= c.recorded_at))
),
known_orders as not materialized (
    select order_id, customer_id, occurred_at, amount, currency
    from orders
    where occurred_at <= :as_of and recorded_at <= :known_at and (cast(:one as text) is null or customer_id = :one)
    union all
    select order_id, customer_id, occurred_at, amount, currency
    from order_history
    where occurred_at <= :as_of and recorded_at <= :known_at and replaced_at > :known_at
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
spent as (
    select o.customer_id,
           coalesce(sum_units(case when o.amount is null then l.units
                                   when o.currency = :currency then cast(o.amount * 10000 as bigint)
                                   else cast(o.amount * cast(cast(:rates as jsonb) ->> o.currency as numeric) * 10000 as bigint)
                              end) filter (where o.occurred_at > :from_at), 0) / 10000.0::float8 as amount
    from known_orders o
    left join order_lines l using (order_id)
    where not exists (select from undone u where u.order_id = o.order_id)
    group by o.customer_id
    having count(*) filter (where coalesce(o.amount, 0) >= 0) > 0
),
churning as (
    select distinct on (customer_id) customer_id, score
    from churn
    where since <= :as_of and (cast(:one as text) is null or customer_id = :one)
    order by customer_id desc, since desc
)
select s.customer_id, s.amount * (1 - coalesce(c.score, 0) / 100) as value, cast(null as float8) as typical, 'past_year' as basis
from spent s
join members using (customer_id)
left join churning c using (customer_id)
