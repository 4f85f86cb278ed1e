-- Take in those that were not refused.
insert into enrollments (cohort_id, mode, journey, customer_id, occurrence, arm, is_eligible, ineligible_reason,
                         email, phone, entered_at, audience)
select :cohort_id, :mode, :journey, customer_id, occurrence, arm, ineligible_reason is null, ineligible_reason,
       email, phone, :cohort_at, audience
from judged
where reason is null
order by customer_id
