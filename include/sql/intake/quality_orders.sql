-- The orders of one source in one pass, a row for each local day from :first_at to :end_at and one (day null) for all the
-- others: how many, fresh ones (learned since :since; null: none), and of both: later than :now, before :oldest_at,
-- of a customer who is not known; and the newest moment that is not later than :now.
select day, count(*) as orders, count(*) filter (where is_fresh) as fresh_orders,
       count(*) filter (where is_future) as future, count(*) filter (where is_future and is_fresh) as fresh_future,
       count(*) filter (where is_old) as old, count(*) filter (where is_old and is_fresh) as fresh_old,
       count(*) filter (where is_unknown) as unknown, count(*) filter (where is_unknown and is_fresh) as fresh_unknown,
       max(occurred_at) filter (where not is_future) as newest_at
from (
    select case when o.occurred_at >= :first_at and o.occurred_at < :end_at
                then cast(o.occurred_at at time zone :zone as date) end as day,
           o.occurred_at, o.occurred_at > :now as is_future, o.occurred_at < :oldest_at as is_old,
           c.customer_id is null as is_unknown,
           coalesce(o.recorded_at >= cast(:since as timestamptz), false) as is_fresh
    from orders o
    left join customers c using (customer_id)
    where o.source = :source
) as of_source
group by day
