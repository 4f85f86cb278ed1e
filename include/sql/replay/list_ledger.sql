-- All that was decided, for everybody, in an order that no id has a part in: of :journey, or of all.
select e.journey, extract(epoch from c.cohort_at) as cohort_at, e.customer_id, e.occurrence, e.arm, e.ineligible_reason,
       m.step, m.channel, m.attempt, m.role, m.decision, m.reason, m.address, m.locale,
       extract(epoch from m.due_at) as due_at, k.kind as coupon, k.value, o.kind as outcome, o.reason as outcome_reason
from enrollments e
join cohorts c using (cohort_id)
left join messages m using (enrollment_id)
left join coupons k on k.coupon_id = m.coupon_id
left join outcomes o on o.message_id = m.message_id
where cast(:journey as text) is null or e.journey = :journey
order by e.journey, c.cohort_at, e.customer_id, e.occurrence, m.step, m.channel, m.attempt, o.kind
