-- The last check before a batch is handed over, at the send instant: it can only withhold. Returns one row of two arrays as
-- text: the messages that may go, and those withheld. Facts are seen through as_of, set to this instant; where a plain look
-- into the table rules a case out for nearly everybody, it comes first.
with pending as (
    select m.message_id, m.channel, m.address, m.not_after, m.step, e.customer_id, e.entered_at, e.mode, e.journey, b.zone
    from messages m
    join enrollments e using (enrollment_id)
    join batches b using (batch_id)
    where m.batch_id = :batch_id
      -- Asked for each by the index: a join would read all outcomes, where nobody has counted them yet.
      and (select o.outcome_id from outcomes o
           where o.message_id = m.message_id and o.kind in ('accepted', 'withheld', 'refused', 'unknown')
           limit 1) is null
),
judged as (
    select p.*,
           case
               when :is_stopped then 'stopped'
               when p.customer_id in (select merged_id from customer_merges where undone_at is null) then 'merged'
               when :exit_unsubscribed
                   and exists (
                       select from consents k
                       where k.customer_id = p.customer_id and k.purpose = 'marketing' and not k.is_granted
                         and k.occurred_at >= p.entered_at)
                   and exists (
                       select from as_of.consents k
                       where k.customer_id = p.customer_id and k.purpose = 'marketing' and not k.is_granted
                         and k.occurred_at >= p.entered_at) then 'exited'
               -- The rules of condition/ordered, refunded, complained and event; a test compares the two.
               when :exit_ordered and exists (
                   select from as_of.orders o
                   where o.customer_id = p.customer_id and o.occurred_at >= p.entered_at
                     and o.status not in ('cancelled', 'refunded')) then 'exited'
               when :exit_refunded and exists (
                   select from as_of.orders o
                   join as_of.order_status s using (order_id)
                   where o.customer_id = p.customer_id and s.status in ('cancelled', 'refunded')
                     and s.occurred_at >= p.entered_at) then 'exited'
               when :exit_complained and exists (
                   select from as_of.events v
                   where v.customer_id = p.customer_id and v.kind = 'complaint_opened'
                     and not exists (
                         select from as_of.events s
                         where s.customer_id = p.customer_id and s.kind = 'complaint_solved'
                           and s.occurred_at > v.occurred_at and s.occurred_at <= p.entered_at)) then 'exited'
               when cardinality(cast(:exit_kinds as text[])) > 0 and exists (
                   select from as_of.events v
                   where v.customer_id = p.customer_id and v.kind = any(cast(:exit_kinds as text[]))
                     and v.occurred_at >= p.entered_at) then 'exited'
               when :exit_goal_met and (
                   :goal_event = 'order'
                   and (exists (select from orders o where o.customer_id = p.customer_id and o.occurred_at >= p.entered_at)
                        or exists (select from order_history o where o.customer_id = p.customer_id))
                   and exists (
                       select from as_of.orders o
                       where o.customer_id = p.customer_id and o.occurred_at >= p.entered_at
                         and o.occurred_at < p.entered_at + make_interval(secs => :goal_within_s)
                         and o.status not in ('cancelled', 'refunded'))
                   or :goal_event <> 'order' and exists (
                       select from as_of.events v
                       where v.customer_id = p.customer_id and v.kind = :goal_event
                         and v.occurred_at >= p.entered_at
                         and v.occurred_at < p.entered_at + make_interval(secs => :goal_within_s))) then 'goal_met'
               when :now >= p.not_after then 'expired'
               -- Erased since it was planned (intake/erase.py): nobody is to be reached any more.
               when p.address = 'erased' then 'no_address'
               when exists (
                   select from as_of.suppressions s
                   where s.channel = p.channel and s.address = p.address and s.is_suppressed) then 'suppressed'
               -- Marketing needs a granted consent, transactional messages only the absence of a withdrawn one.
               when not coalesce((
                   select k.is_granted from consents k
                   where k.customer_id = p.customer_id and k.channel = p.channel and k.purpose = :purpose
                     and k.occurred_at <= :now and k.recorded_at <= :now
                   order by k.occurred_at desc, k.consent_id desc
                   limit 1), :purpose = 'transactional') then 'no_consent'
               -- What she has refused besides: a topic, to be profiled, her data to be taken abroad.
               when exists (
                       select from choices c
                       where c.customer_id = p.customer_id and c.subject = any(cast(:choices as text[])) and not c.is_granted)
                   and exists (
                       select from (
                           select distinct on (c.subject) c.subject, c.is_granted
                           from as_of.choices c
                           where c.customer_id = p.customer_id and c.subject = any(cast(:choices as text[]))
                           order by c.subject, c.occurred_at desc) as latest
                       where not latest.is_granted) then 'no_consent'
               -- What was put off, or held up, may come on another step's day: plan/keep_one_a_day.sql, by what was handed over.
               when :one_a_day and exists (
                   select from enrollments e
                   join messages m using (enrollment_id)
                   join batches b using (batch_id)
                   where e.customer_id = p.customer_id and e.mode = p.mode and e.journey = p.journey
                     and m.decision = 'send' and m.step <> p.step
                     and (b.sending_at at time zone p.zone)::date = (cast(:now as timestamptz) at time zone p.zone)::date
                     and not exists (
                         select from outcomes o
                         where o.message_id = m.message_id
                           and (o.kind = 'withheld'
                                or o.kind = 'refused' and o.reason is distinct from 'unaccounted'))) then 'frequency_cap'
           end as reason
    from pending p
),
withheld as (
    insert into outcomes (message_id, kind, reason, occurred_at, recorded_at)
    select message_id, 'withheld', reason, :now, :now from judged where reason is not null
    on conflict do nothing
)
select cast(coalesce(array_agg(message_id) filter (where reason is null), '{}') as text) as wanted,
       cast(array_agg(message_id) filter (where reason is not null) as text) as withheld
from judged
