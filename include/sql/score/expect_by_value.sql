-- What is expected of everybody who ever bought, by the lifetime value of as_of.customer_values, in :currency: in the temporary
-- table expected. Where the amount is not known (none yet, or a currency without a rate) expected purchases stand in, at
-- :typical each: the median of what is known of the others or, where nothing is, one.
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
priced as (
    select v.customer_id, v.purchases, v.spend * r.rate as spend, v.value * r.rate as value
    from as_of.customer_values v
    join members using (customer_id)
    cross join lateral (
        select case when v.currency = :currency then 1
                    else cast(cast(:rates as jsonb) ->> v.currency as float8) end as rate
    ) as r
    where cast(:one as text) is null or v.customer_id = :one
),
usual as (
    select coalesce(cast(:typical as float8),
                    (select percentile_cont(0.5) within group (order by spend) from priced where value is not null), 1)
               as spend
)
select p.customer_id, coalesce(p.value, p.purchases * u.spend) as value, u.spend as typical,
       case when p.value is null then 'purchases' else 'lifetime_value' end as basis
from priced p
cross join usual u
