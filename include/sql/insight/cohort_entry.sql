-- Who entered a cohort: people by arm and, for those who could not be written to at that moment, by reason.
select arm, ineligible_reason as reason, count(*) as people
from enrollments
where cohort_id = :cohort_id
group by arm, ineligible_reason
order by arm, people desc, reason
