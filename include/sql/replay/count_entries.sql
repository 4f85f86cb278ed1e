-- Who entered: one row a journey and arm, with how many of them could be reached.
select journey, arm, count(*) as people, count(*) filter (where is_eligible) as eligible
from enrollments
group by journey, arm
order by journey, arm
