-- Where everybody of a cohort stands at a step, in the temporary table planned_fates, with their last attempt: waiting (a message
-- is still to be handed over), arrived (accepted, or reported of by its provider, and no word of the contrary), unknown (the answer was lost, or given up), failed
-- (refused, or bounced), withheld (the last check held it back), again (a skip that may be decided again), skipped. Of several
-- messages the first of these counts. Refused for `by_hand` is what somebody settled as not arrived.
create temporary table planned_fates on commit drop as
with messages_here as (
    select m.enrollment_id, m.message_id, m.attempt, m.decision, m.reason
    from messages m
    where m.cohort_id = :cohort_id and m.step = :step
),
heard as (
    select h.message_id,
           bool_or(o.kind = 'accepted' or o.kind = any(cast(:reported as text[]))) as is_accepted,
           bool_or(o.kind in ('bounced', 'dropped', 'undelivered', 'failed')) as is_lost,
           bool_or(o.kind = 'refused' and o.reason is distinct from 'unaccounted') as is_refused,
           bool_or(o.kind = 'refused' and o.reason = 'unaccounted') as is_given_up,
           bool_or(o.kind = 'withheld') as is_withheld,
           bool_or(o.kind = 'unknown') as is_in_doubt
    from messages_here h
    join outcomes o using (message_id)
    where h.decision = 'send'
    group by h.message_id
),
fates as (
    select h.enrollment_id, h.attempt,
           case
               when h.decision = 'skip' then case when h.reason = any(cast(:redecidable as text[])) then 6 else 7 end
               when t.message_id is null then 1
               when t.is_accepted and not t.is_lost then 2
               when t.is_withheld then 5
               when t.is_refused or t.is_lost then 4
               when t.is_given_up or t.is_in_doubt then 3
               else 1
           end as fate
    from messages_here h
    left join heard t using (message_id)
)
select enrollment_id, max(attempt) as attempt,
       (array['waiting', 'arrived', 'unknown', 'failed', 'withheld', 'again', 'skipped'])[min(fate)] as fate
from fates
group by enrollment_id
