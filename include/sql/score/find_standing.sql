-- The latest run of a score that is not later than :as_of.
select as_of, known_at, computed_at, zone, config, found, customers, moved
from standing_runs
where score = :score and as_of <= :as_of
order by as_of desc
limit 1
