-- Customers who have neither logged in nor ordered for 90 days: found on that day or, if we learned of it late, up to the window
-- later. The occurrence names the day they were last seen, so that a new silence is a new one.
with quiet as (
    select customer_id, max(seen_at) as seen_at
    from (
        select customer_id, occurred_at as seen_at from orders where occurred_at > :window_start - interval '90 days'
        union all
        select customer_id, occurred_at from events
        where kind = 'login' and occurred_at > :window_start - interval '90 days'
    ) as seen
    group by customer_id
)
select customer_id, 'dormant_since:' || (seen_at at time zone :timezone)::date as occurrence
from quiet
join customers using (customer_id)
where seen_at <= :as_of - interval '90 days'
