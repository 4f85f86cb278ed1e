-- Cohorts under way: those with people in them whose books are not closed.
select count(*) from cohorts c
where status <> 'settled' and exists (select from enrollments e where e.cohort_id = c.cohort_id)
