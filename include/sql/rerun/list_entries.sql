-- What the audit log has of the re-run :key, in the order of cohorts.
select a.action, a.actor, a.at, a.cohort_id, a.detail, c.cohort_at, c.mode
from audit_log a
left join cohorts c using (cohort_id)
where a.action in ('rerun', 'rerun_counted', 'rerun_rejected') and a.detail ->> 'key' = :key
order by c.cohort_at, c.mode, a.audit_id desc
