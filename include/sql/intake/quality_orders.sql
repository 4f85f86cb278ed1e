-- The orders of one source in one pass, a row for each local day from :first_at to :end_at and one (day null) for all the
-- others: how many, fresh ones (learned since :since; null: none), and of both: later than :now, before :oldest_at; and
-- the newest moment that is not later than :now.
select day, count(*) as orders, count(*) filter (where is_fresh) as fresh_orders,
       count(*) filter (where is_future) as future, count(*) filter (where is_future and is_fresh) as fresh_future,
       count(*) filter (where is_old) as old, count(*) filter (where is_old and is_fresh) as fresh_old,
       max(occurred_at) filter (where not is_future) as newest_at
from (
    select case when occurred_at >= :first_at and occurred_at < :end_at
                then cast(occurred_at at time zone :zone as date) end as day,
           occurred_at, occurred_at > :now as is_future, occurred_at < :oldest_at as is_old,
           coalesce(recorded_at >= cast(:since as timestamptz), false) as is_fresh
    from orders
    where source = :source
) as of_source
group by day
