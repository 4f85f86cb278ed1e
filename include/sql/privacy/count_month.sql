-- Before a month of messages is dropped: how many were decided, and how many had each kind of outcome, of people alone.
-- :first and :last are the month's ids of enrollments (:last is not of it). Run once a month.
insert into month_counts (month, mode, journey, step, channel, arm, what, reason, messages)
with mine as (
    select m.message_id, e.mode, e.journey, m.step, m.channel, e.arm, m.decision, m.reason
    from messages m
    join enrollments e using (enrollment_id)
    where m.enrollment_id >= :first and m.enrollment_id < :last
),
told as (
    select message_id, mode, journey, step, channel, arm, decision as what, reason from mine
    union all
    select distinct m.message_id, m.mode, m.journey, m.step, m.channel, m.arm, o.kind,
           case when o.kind = 'withheld' then o.reason end
    from mine m
    join outcomes o using (message_id)
    where not o.is_machine
)
select :month, mode, journey, step, channel, arm, what, reason, count(*)
from told
group by mode, journey, step, channel, arm, what, reason
