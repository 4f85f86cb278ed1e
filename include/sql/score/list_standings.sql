-- The newest run of each score until an instant (as_of, null if there is none), and its newest of all (newest).
select score, max(as_of) filter (where as_of <= :as_of) as as_of, max(as_of) as newest
from (
    select 'tiers' as score, as_of from score_runs
    union all select 'values', as_of from value_runs
    union all select 'preferences', as_of from preference_runs
    union all select score, as_of from standing_runs
) as runs
group by score
