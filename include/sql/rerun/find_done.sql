-- What a re-run with this key did to a cohort's step, if it has been here before: when, and its numbers.
select at, detail from audit_log
where cohort_id = :cohort_id and action = 'rerun' and detail ->> 'key' = :key and detail ->> 'step' = :step
order by audit_id desc
limit 1
