-- What the seven dimensions are made of, as of :as_of, in the temporary table value_inputs: a row a customer who has any of
-- it. Purchases by kind (necessary: what order_lines says; discretionary: the rest), by period (recent: after :recent_from)
-- and by fact (amount, orders, interval in days); of all else, how many events there were. Cancelled and refunded orders are
-- left out; a credit (below nothing) lessens the discretionary amount and is no order.
create temporary table value_inputs on commit drop as
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
worth as (
    select o.customer_id, o.occurred_at, o.occurred_at > :recent_from as is_recent, l.necessary,
           case when o.amount is null then coalesce(l.units, 0)
                when o.currency = :currency then cast(o.amount * 10000 as bigint)
                else cast(coalesce(o.amount * cast(cast(:rates as jsonb) ->> o.currency as numeric), 0) * 10000 as bigint)
           end as units,
           coalesce(o.amount, l.units, 0) >= 0 as is_order
    from known_orders o
    left join order_lines l using (order_id)
    where not exists (select from undone u where u.order_id = o.order_id)
    offset 0
),
split as (
    select customer_id, occurred_at, is_recent, is_order and necessary is not null as is_necessary,
           is_order and (necessary is null or units > necessary) as is_discretionary,
           coalesce(necessary, 0) as necessary, case when is_order then greatest(units - coalesce(necessary, 0), 0)
                                                     else units end as discretionary
    from worth
    offset 0
),
purchases as (
    select customer_id,
           sum_units(necessary) filter (where is_recent) as necessary_recent_amount,
           count(*) filter (where is_recent and is_necessary) as necessary_recent_orders,
           max(occurred_at) filter (where is_recent and is_necessary)
               - min(occurred_at) filter (where is_recent and is_necessary) as necessary_recent_span,
           sum_units(necessary) filter (where not is_recent) as necessary_before_amount,
           count(*) filter (where not is_recent and is_necessary) as necessary_before_orders,
           max(occurred_at) filter (where not is_recent and is_necessary)
               - min(occurred_at) filter (where not is_recent and is_necessary) as necessary_before_span,
           sum_units(discretionary) filter (where is_recent) as discretionary_recent_amount,
           count(*) filter (where is_recent and is_discretionary) as discretionary_recent_orders,
           max(occurred_at) filter (where is_recent and is_discretionary)
               - min(occurred_at) filter (where is_recent and is_discretionary) as discretionary_recent_span,
           sum_units(discretionary) filter (where not is_recent) as discretionary_before_amount,
           count(*) filter (where not is_recent and is_discretionary) as discretionary_before_orders,
           max(occurred_at) filter (where not is_recent and is_discretionary)
               - min(occurred_at) filter (where not is_recent and is_discretionary) as discretionary_before_span
    from split
    group by customer_id
),
told as (
    select customer_id, count(*) filter (where kind = any(cast(:referrals as text[]))) as referrals,
           count(*) filter (where kind = any(cast(:advocacy as text[]))) as advocacy,
           count(*) filter (where kind = any(cast(:answers as text[]))) as answers,
           count(*) filter (where kind = any(cast(:participation as text[]))) as participation,
           count(*) filter (where kind = any(cast(:surveys as text[]))) as surveys,
           count(*) filter (where kind = any(cast(:suggestions as text[]))) as suggestions
    from events
    where kind = any(cast(:kinds as text[])) and occurred_at <= :as_of and recorded_at <= :known_at
      and (cast(:one as text) is null or customer_id = :one)
    group by customer_id
)
select customer_id,
       necessary_recent_amount / 10000.0::float8 as necessary_recent_amount, necessary_recent_orders,
       -- Never less than a day, and only of two orders or more.
       case when necessary_recent_orders > 1
           then greatest(date_part('epoch', necessary_recent_span) / 86400 / (necessary_recent_orders - 1), 1)
       end as necessary_recent_interval,
       necessary_before_amount / 10000.0::float8 as necessary_before_amount, necessary_before_orders,
       case when necessary_before_orders > 1
           then greatest(date_part('epoch', necessary_before_span) / 86400 / (necessary_before_orders - 1), 1)
       end as necessary_before_interval,
       discretionary_recent_amount / 10000.0::float8 as discretionary_recent_amount, discretionary_recent_orders,
       case when discretionary_recent_orders > 1
           then greatest(date_part('epoch', discretionary_recent_span) / 86400 / (discretionary_recent_orders - 1), 1)
       end as discretionary_recent_interval,
       discretionary_before_amount / 10000.0::float8 as discretionary_before_amount, discretionary_before_orders,
       case when discretionary_before_orders > 1
           then greatest(date_part('epoch', discretionary_before_span) / 86400 / (discretionary_before_orders - 1), 1)
       end as discretionary_before_interval,
       referrals, advocacy, answers, participation, surveys, suggestions
from purchases
full join told using (customer_id)
join members using (customer_id)
