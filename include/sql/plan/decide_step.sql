-- One decision for every enrollment of a cohort at one step: a message row that says send, or skip and why. Inserts the
-- batches, reserves the coupons, and returns nothing. Run again it adds rows only for people without a decision, and a
-- new attempt where a skip that may be decided again comes out differently now.
with people as (
    select e.enrollment_id, e.customer_id, e.arm, e.entered_at, last.attempt, last.reason as last_reason
    from enrollments e
    left join lateral (
        select m.attempt, m.decision, m.reason
        from messages m
        where m.cohort_id = :cohort_id and m.step = :step and m.enrollment_id = e.enrollment_id
        order by m.decision = 'send' desc, m.attempt desc
        limit 1
    ) as last on true
    where e.cohort_id = :cohort_id
      and (last.attempt is null
           or last.decision = 'skip' and last.reason = any(cast(:redecidable as text[])) and not :is_expired)
),
ways as (
    -- Every channel of the step for every person, best first.
    select p.enrollment_id, wanted.channel, wanted.place,
           case when r.customer_id is null then 'no_address' else r.reason end as reason, r.address
    from people p
    cross join unnest(cast(:channels as text[])) with ordinality as wanted (channel, place)
    left join lateral (
        -- limit: one row there is at most; it keeps the look-up to this person instead of a join over all customers
        select r.customer_id, r.reason, r.address
        from as_of.reach r
        where r.customer_id = p.customer_id and r.channel = wanted.channel and r.purpose = :purpose
        limit 1
    ) as r on true
),
chosen as (
    -- The first reachable channel; with :on_each every reachable one; else the first reason in the published order.
    select *, row_number() over (partition by enrollment_id order by rank, place) as nth
    from (
        select *, array_position(array['suppressed', 'no_consent', 'no_address'], reason) as reason_rank,
               coalesce(array_position(array['suppressed', 'no_consent', 'no_address'], reason), 0) as rank
        from ways
    ) as ranked
),
judged as (
    select p.*, c.channel, c.address, c.nth,
           case
               when p.arm = 'holdout' and :purpose = 'marketing' then 'holdout'
               when :is_stopped then 'stopped'
               when :is_retired then 'retired'
               when p.customer_id in (select merged_id from customer_merges where undone_at is null) then 'merged'
               when :exit_unsubscribed and exists (
                   select from as_of.consents k
                   where k.customer_id = p.customer_id and k.purpose = 'marketing' and not k.is_granted
                     and k.occurred_at >= p.entered_at) then 'exited'
               when :exit_goal_met and (
                   :goal_event = 'order' and exists (
                       select from as_of.orders o
                       where o.customer_id = p.customer_id and o.occurred_at >= p.entered_at
                         and o.occurred_at < p.entered_at + make_interval(secs => :goal_within_s)
                         and o.status not in ('cancelled', 'refunded'))
                   or :goal_event <> 'order' and exists (
                       select from as_of.events v
                       where v.customer_id = p.customer_id and v.kind = :goal_event
                         and v.occurred_at >= p.entered_at
                         and v.occurred_at < p.entered_at + make_interval(secs => :goal_within_s))) then 'goal_met'
               when :is_expired then 'expired'
               when :only_if = 'coupon_unused' and not exists (
                   select from coupons k
                   where k.enrollment_id = p.enrollment_id and k.state = 'issued' and k.valid_until > :due_at
                     and not exists (
                         select from as_of.order_items i
                         where upper(i.coupon_code) = k.code and i.customer_id = p.customer_id)) then 'not_needed'
               when c.reason is not null then c.reason
           end as reason
    from people p
    join chosen c using (enrollment_id)
    where c.nth = 1 or :on_each and c.reason is null
),
capped as (
    select j.*,
           case
               when j.reason is not null then j.reason
               -- Two customers on one address: the first of them is written to.
               when row_number() over (
                       partition by j.channel, j.address, j.reason is null order by j.enrollment_id) > 1
                   or exists (
                       select from messages m
                       where m.cohort_id = :cohort_id and m.step = :step and m.decision = 'send'
                         and m.channel = j.channel and m.address = j.address) then 'duplicate_address'
               -- After a freeze nobody gets more than one made-up step of a journey a day.
               when :is_made_up and exists (
                   select from messages m
                   join enrollments e using (enrollment_id)
                   where e.customer_id = j.customer_id and e.mode = :mode and e.journey = :journey
                     and m.decision = 'send' and m.step <> :step
                     and m.planned_at >= :local_midnight) then 'frequency_cap'
           end as verdict
    from judged j
),
decided as (
    select enrollment_id, customer_id, attempt, channel, address, verdict as reason,
           case when verdict is null then 'send' else 'skip' end as decision,
           case when nth = 1 then 'first' else 'also' end as role
    from capped
    -- What holds for the person is said once; a new attempt is written only when it comes out differently.
    where (nth = 1 or verdict is null) and (attempt is null or verdict is distinct from last_reason)
),
placed as (
    select d.*, k.locale,
           (row_number() over (partition by d.channel, d.decision order by d.enrollment_id) - 1)
               / (cast(:batch_sizes as jsonb) ->> d.channel)::int as nth_batch
    from decided d
    left join lateral (
        select c.locale from as_of.customers c where c.customer_id = d.customer_id limit 1) as k on true
),
new_batches as (
    insert into batches (cohort_id, step, channel, wave, ordinal, size, state, planned_at)
    select :cohort_id, :step, p.channel, 0,
           p.nth_batch + coalesce((
               select max(b.ordinal) + 1 from batches b
               where b.cohort_id = :cohort_id and b.step = :step and b.channel = p.channel and b.wave = 0), 0),
           count(*), 'ready', :now
    from placed p
    where p.decision = 'send'
    group by p.channel, p.nth_batch
    returning batch_id, channel, ordinal
),
batch_of as (
    select batch_id, channel, row_number() over (partition by channel order by ordinal) - 1 as nth_batch
    from new_batches
),
reserved as (
    -- Ten letters and digits out of 32 that can't be mistaken for each other, from the server's strong random source.
    insert into coupons (code, mode, enrollment_id, step, customer_id, kind, value, valid_until, state, state_at)
    select (select string_agg(substr('ABCDEFGHJKLMNPQRSTUVWXYZ23456789', get_byte(bytes, i) % 32 + 1, 1), '' order by i)
            from generate_series(0, 9) as i),
           :mode, p.enrollment_id, :step, p.customer_id, :coupon_kind, :coupon_value, :coupon_valid_until,
           'reserved', :now
    from placed p
    -- A random uuid has fixed bits in bytes 6 and 8: hash it, and draw one per row.
    cross join lateral (select sha256(uuid_send(gen_random_uuid()) || convert_to(p.enrollment_id::text, 'UTF8')) as bytes) as drawn
    where p.decision = 'send' and p.role = 'first' and cast(:coupon_kind as text) is not null
    on conflict (enrollment_id, step) do update
        set state = 'reserved', state_at = excluded.state_at, valid_until = excluded.valid_until
        where coupons.state = 'given_back'
    returning coupon_id, enrollment_id
)
insert into messages (enrollment_id, cohort_id, step, channel, attempt, role, decision, reason, address, locale,
                      coupon_id, batch_id, due_at, not_before, not_after, planned_at)
select p.enrollment_id, :cohort_id, :step, p.channel, coalesce(p.attempt, 0) + 1, p.role, p.decision, p.reason,
       case when p.decision = 'send' then p.address end,
       case when p.decision = 'send' then coalesce(p.locale, :default_locale) end,
       case when p.decision = 'send' then coalesce(
           r.coupon_id,
           (select k.coupon_id from coupons k
            where k.enrollment_id = p.enrollment_id and k.state in ('reserved', 'issued')
            order by k.coupon_id desc limit 1)) end,
       b.batch_id, :due_at, :due_at, :not_after, :now
from placed p
left join reserved r using (enrollment_id)
left join batch_of b on p.decision = 'send' and b.channel = p.channel and b.nth_batch = p.nth_batch
order by p.enrollment_id
