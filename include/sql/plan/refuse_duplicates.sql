-- Two customers on one address: of those in planned_decisions that may get a message the first is written to, and nobody
-- where the step wrote to this address before. The others are given the reason duplicate_address.
with claims as not materialized (
    select channel, address, enrollment_id from planned_decisions where reason is null
    union all
    select channel, address, 0 from messages
    where cohort_id = :cohort_id and step = :step and decision = 'send'
      -- Their own message of before is what is repeated.
      and not (:is_repeat and enrollment_id in (select enrollment_id from planned_people))
),
shared as (
    -- Hardly any address is claimed twice: hashes are compared first, in half the time that a million addresses take.
    select hash from (select hashtextextended(address, 0) as hash from claims) as hashed
    group by hash
    having count(*) > 1
),
holders as (
    select channel, address, min(enrollment_id) as enrollment_id
    from claims
    where hashtextextended(address, 0) in (select hash from shared)
    group by channel, address
    having count(*) > 1
)
update planned_decisions d
set reason = 'duplicate_address'
from holders h
where d.reason is null and d.channel = h.channel and d.address = h.address and d.enrollment_id <> h.enrollment_id
