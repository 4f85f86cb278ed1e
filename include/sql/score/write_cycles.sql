-- The usual interval of each category, from category_sums: the median of the customers' medians, so that one who buys daily
-- counts as much as one who buys twice a year.
insert into category_cycles (as_of, category, known_at, customers, days)
select :as_of, category, :known_at, count(*), percentile_cont(0.5) within group (order by median)
from category_sums
where intervals > 0
group by category
on conflict (as_of, category) do update
    set known_at = excluded.known_at, customers = excluded.customers, days = excluded.days
