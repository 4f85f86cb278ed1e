-- Orders as of :as_of, of everybody (:everybody) or of those in scratch_touched, that are not simply what they are in the
-- table of orders, in the table scratch_odd: states that were replaced later, and orders without a total of their own,
-- which are worth what their lines are. In :currency, or, where there are no lines or a line's currency has no rate, as
-- nothing in no currency ('').
create unlogged table scratch_odd as
select order_id, customer_id, occurred_at, recorded_at, amount, currency
from order_history
where occurred_at <= :as_of and recorded_at <= :known_at and replaced_at > :known_at and amount is not null
  and (:everybody or customer_id in (select customer_id from scratch_touched where by_orders))
  and (cast(:one as text) is null or customer_id = :one)
union all
select o.order_id, o.customer_id, o.occurred_at, o.recorded_at, cast(coalesce(lines.amount, 0) as numeric(18, 4)),
       case when lines.amount is null then '' else :currency end
from (
    select order_id, customer_id, occurred_at, recorded_at
    from orders
    where occurred_at <= :as_of and recorded_at <= :known_at and amount is null
      and (:everybody or customer_id in (select customer_id from scratch_touched where by_orders))
      and (cast(:one as text) is null or customer_id = :one)
    union all
    select order_id, customer_id, occurred_at, recorded_at
    from order_history
    where occurred_at <= :as_of and recorded_at <= :known_at and replaced_at > :known_at and amount is null
      and (:everybody or customer_id in (select customer_id from scratch_touched where by_orders))
      and (cast(:one as text) is null or customer_id = :one)
) as o
cross join lateral (
    select case when count(*) = count(worth) then sum(worth) end as amount
    from (
        select i.amount * case when i.currency = :currency then 1
                               else cast(cast(:rates as jsonb) ->> i.currency as numeric) end as worth
        from order_items i
        where i.order_id = o.order_id and i.recorded_at <= :known_at
        union all
        select i.amount * case when i.currency = :currency then 1
                               else cast(cast(:rates as jsonb) ->> i.currency as numeric) end as worth
        from order_item_history i
        where i.order_id = o.order_id and i.recorded_at <= :known_at and i.replaced_at > :known_at
    ) as line
) as lines
