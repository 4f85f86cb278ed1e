-- A journey's coupons by step, kind and state, live or test: how many. :journey null: of all journeys.
select c.journey, k.mode, k.step, k.kind, k.state, count(*) as coupons
from coupons k
join enrollments e using (enrollment_id)
join cohorts c on c.cohort_id = e.cohort_id
where k.mode = :mode and (cast(:journey as text) is null or c.journey = :journey)
group by c.journey, k.mode, k.step, k.kind, k.state
order by c.journey, k.step, k.kind, k.state
