-- Where a step goes out on each channel and the first was capped, the next one is the first: it carries the coupon. What
-- the capped one says is then no skip of the step.
with firsts as (
    select distinct on (enrollment_id) enrollment_id, channel
    from planned_decisions
    where reason is null
    order by enrollment_id, place
)
update planned_decisions d
set is_first = d.channel = f.channel
from firsts f
where f.enrollment_id = d.enrollment_id
