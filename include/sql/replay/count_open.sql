-- Cohorts whose books are not closed.
select count(*) from cohorts where status <> 'settled'
