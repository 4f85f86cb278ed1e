-- The coupons of a cohort, by step and state.
select k.step, k.state, count(*) as coupons
from coupons k
join enrollments e using (enrollment_id)
where e.cohort_id = :cohort_id
group by k.step, k.state
order by k.step, coupons desc, k.state
