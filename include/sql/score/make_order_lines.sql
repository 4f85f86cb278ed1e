-- What of each order is necessary, and what orders without a total are worth by their lines, as of :as_of: in the temporary
-- table order_lines, in ten-thousandths of :currency. A line counts under its own category, else its product's; one of
-- another currency without a rate is worth nothing. Orders with a total and nothing necessary are not in it.
create temporary table order_lines on commit drop as
with theirs as not materialized (
    select order_id from orders
    where amount is null and (cast(:one as text) is null or customer_id = :one)
    union all
    select order_id from order_history
    where amount is null and replaced_at > :known_at and (cast(:one as text) is null or customer_id = :one)
),
lines as not materialized (
    select order_id, product_id, category, amount, currency from order_items where recorded_at <= :known_at
    union all
    select order_id, product_id, category, amount, currency from order_item_history
    where recorded_at <= :known_at and replaced_at > :known_at
)
select i.order_id,
       sum_units(cast(i.worth * 10000 as bigint)) filter (where i.is_necessary) as necessary,
       sum_units(cast(i.worth * 10000 as bigint)) as units
from (
    select l.order_id, coalesce(coalesce(l.category, p.category) = any(cast(:necessary as text[])), false) as is_necessary,
           coalesce(l.amount * case when l.currency = :currency then 1
                                    else cast(cast(:rates as jsonb) ->> l.currency as numeric) end, 0) as worth
    from lines l
    left join products p on p.product_id = l.product_id and l.category is null
                            and p.occurred_at <= :as_of and p.recorded_at <= :known_at
    where cast(:one as text) is null
       or l.order_id = any(array(select order_id from orders where customer_id = :one
                                 union all
                                 select order_id from order_history where customer_id = :one))
) as i
where i.is_necessary or i.order_id in (select order_id from theirs)
group by i.order_id
