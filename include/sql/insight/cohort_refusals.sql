-- Whom the audience named for a cohort and the journey did not take in, by reason.
select reason, count(*) as people
from entry_refusals
where cohort_id = :cohort_id
group by reason
order by people desc, reason
