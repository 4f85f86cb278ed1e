-- What the re-run :key asked an approval for: people by cohort.
select detail -> 'approved' from audit_log where action = 'rerun_asked' and detail ->> 'key' = :key order by audit_id limit 1
