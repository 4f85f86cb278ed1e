-- Cohorts with open books that have enrollments of a month: ids from :first, before :last.
select c.cohort_id, c.journey, c.cohort_at
from cohorts c
where c.status <> 'settled'
  and exists (
      select from enrollments e
      where e.cohort_id = c.cohort_id and e.enrollment_id >= :first and e.enrollment_id < :last)
order by c.cohort_at, c.cohort_id
