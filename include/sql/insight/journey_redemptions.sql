-- The orders that a journey's coupons stand on: how many by verdict, how many of them by somebody else, what they cost by
-- currency, how many cost nobody can tell, and how many points they promise. :journey null: of all journeys.
select c.journey, u.verdict, u.currency, count(*) as orders, count(*) filter (where u.is_shared) as shared,
       coalesce(sum(u.cost), 0) as cost,
       count(*) filter (where u.cost is null and k.kind <> 'points' and u.verdict <> 'undone') as unknown,
       coalesce(sum(k.value) filter (where k.kind = 'points' and u.verdict <> 'undone'), 0) as points
from coupon_uses u
join coupons k using (coupon_id)
join enrollments e using (enrollment_id)
join cohorts c on c.cohort_id = e.cohort_id
where k.mode = :mode and (cast(:journey as text) is null or c.journey = :journey)
group by c.journey, u.verdict, u.currency
order by c.journey, u.verdict, u.currency
