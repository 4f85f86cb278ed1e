-- What became of the messages that the re-run :key decided, or found waiting: the last word on each, in messages.
with done as (
    select cohort_id, detail ->> 'step' as step, detail ->> 'who' as who, cast(detail ->> 'planned_at' as timestamptz) as planned_at
    from audit_log
    where action = 'rerun' and detail ->> 'key' = :key
),
made as (
    select m.message_id
    from done d
    join messages m on m.cohort_id = d.cohort_id and m.step = d.step and m.decision = 'send'
    -- Who was never attempted may have waited since the step's own plan.
    where m.role = 'repeat' and m.planned_at = d.planned_at or d.who = 'never_attempted'
)
select coalesce((
           select case o.kind when 'refused' then coalesce('refused: ' || o.reason, 'refused')
                              when 'withheld' then 'withheld: ' || o.reason else o.kind end
           from outcomes o where o.message_id = made.message_id
           order by o.kind in ('bounced', 'dropped', 'undelivered', 'failed') desc,
                    o.kind in ('accepted', 'refused', 'withheld') desc, o.outcome_id desc
           limit 1), 'waiting') as fate,
       count(*) as messages
from made
group by 1
order by 1
