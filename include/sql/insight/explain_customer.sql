-- Everything that was decided about one customer and what came of it, by time; under every id that goes on under this one.
with recursive ids as (
    select cast(:customer_id as text) as customer_id
    union
    select m.merged_id
    from customer_merges m
    join ids on ids.customer_id = m.kept_id
    where m.undone_at is null
)
select at, mode, journey, what, step, channel, detail
from (
    select e.entered_at as at, e.mode, e.journey, 'entered' as what, null as step, null as channel,
           e.occurrence || coalesce(', named by ' || e.audience, '')
               || case e.arm when 'main' then '' when 'holdout' then ', holdout' else ', variant ' || e.arm end
               || coalesce(', not reachable: ' || e.ineligible_reason, '') as detail,
           0 as rank, e.enrollment_id as id
    from enrollments e
    where e.customer_id in (select customer_id from ids)
    union all
    select c.cohort_at, r.mode, r.journey, 'not taken in', null, null, r.occurrence || ': ' || r.reason, 1, r.refusal_id
    from entry_refusals r join cohorts c using (cohort_id)
    where r.customer_id in (select customer_id from ids)
    union all
    select m.due_at, e.mode, e.journey, m.decision, m.step, m.channel, coalesce(m.reason, m.template), 2, m.message_id
    from messages m join enrollments e using (enrollment_id)
    where e.customer_id in (select customer_id from ids)
    union all
    select o.occurred_at, e.mode, e.journey, case o.kind when 'unknown' then 'in doubt' else o.kind end, m.step, m.channel, o.reason, 3, o.outcome_id
    from outcomes o join messages m using (message_id) join enrollments e using (enrollment_id)
    where e.customer_id in (select customer_id from ids)
    union all
    select k.occurred_at, null, null,
           'consent ' || case when k.is_granted then 'granted' else 'withdrawn' end, null, k.channel,
           k.purpose || ', ' || k.source, 4, k.consent_id
    from consents k
    where k.customer_id in (select customer_id from ids)
    union all
    select s.occurred_at, null, null,
           case when s.is_suppressed then 'address suppressed' else 'suppression lifted' end, null, s.channel,
           s.reason, 5, s.suppression_id
    from suppressions s
    join customers c on s.address = case s.channel when 'email' then as_of.usable_email(c.email) else c.phone end
    where c.customer_id in (select customer_id from ids)
    union all
    select m.merged_at, null, null, 'merged', null, null,
           m.merged_id || ' goes on under ' || m.kept_id || ': ' || m.reason, 6, m.merge_id
    from customer_merges m
    where m.undone_at is null
      and (m.merged_id in (select customer_id from ids) or m.kept_id in (select customer_id from ids))
) as story
order by at, rank, id
