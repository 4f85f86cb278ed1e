-- The latest run that is not later than :as_of.
select run_id, as_of, known_at, computed_at, is_rebuild, config, customers, touched, moved
from score_runs
where as_of <= :as_of
order by as_of desc
limit 1
