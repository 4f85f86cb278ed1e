-- When each customer of category_sums will buy next in each category: the last day and an interval, which is the customer's
-- own median drawn towards the category's (the newest as of :as_of) as if :weight intervals of that kind had been seen, too.
-- A category counts from :min_customers customers who bought in it again; below that only an own rhythm of at least :weight
-- intervals says something, and without one there is no row.
with cycles as (
    select distinct on (category) category, customers, days
    from category_cycles
    where as_of <= :as_of and known_at <= :known_at
    order by category, as_of desc
),
drawn as (
    select s.customer_id, s.category, s.last_on, s.intervals, s.median as own_days, c.days as usual_days,
           case when c.days is not null and s.intervals + :weight > 0
                    then (s.intervals * coalesce(s.median, 0) + :weight * c.days) / (s.intervals + :weight)
                when s.intervals >= greatest(:weight, 1) then s.median end as days
    from category_sums s
    left join cycles c on c.category = s.category and c.customers >= :min_customers
)
select customer_id, category, last_on, intervals, own_days, usual_days, days,
       last_on + greatest(1, round(days))::int as due_on
from drawn
where days is not null
order by customer_id, due_on, category
