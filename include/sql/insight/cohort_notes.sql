-- The notes that a cohort goes by scores that were not of its day, by cohort: which, as of when, and from when they should
-- have been. Of these cohorts.
select distinct on (cohort_id) cohort_id, detail->'scores' as scores, (detail->>'as_of')::timestamptz as as_of,
       (detail->>'due_at')::timestamptz as due_at
from audit_log
where action = 'old_scores' and cohort_id = any(:cohorts)
order by cohort_id, at desc
