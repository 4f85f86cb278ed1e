-- Note that an Airflow run carries this cohort; the one it joined last counts.
insert into cohort_runs (journey, run_id, cohort_id, joined_at)
select journey, :run_id, cohort_id, :now from cohorts where cohort_id = :cohort_id
on conflict (journey, run_id) do update set cohort_id = excluded.cohort_id, joined_at = excluded.joined_at
