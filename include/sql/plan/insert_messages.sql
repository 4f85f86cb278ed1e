-- Write down what planned_decisions says: a message a decision, and for the sends their batches and coupons. Batches go on
-- counting after those of earlier attempts, and rarely mix languages: a channel's sends are dealt in the order of locale.
-- What holds for a person is said once, on her first row; a new attempt is written only where it comes out differently.
with languages as (
    -- The sends of each channel and locale, and how many sends of other channels come before them. One number to sort by
    -- stands for channel, locale and enrollment: sorting a million by the three takes twice as long.
    select channel, locale, count(*) as sends, (cast(:batch_sizes as jsonb) ->> channel)::int as most,
           row_number() over (order by channel, locale) * (cast(:last_id as bigint) + 1) as first_key,
           coalesce(sum(count(*)) over (order by channel groups between unbounded preceding and 1 preceding), 0)::int as before
    from planned_decisions
    where reason is null
    group by channel, locale
),
sends as (
    select d.*,
           (row_number() over (order by l.first_key + d.enrollment_id) - 1 - l.before) / l.most as nth_batch
    from planned_decisions d
    join languages l using (channel, locale)
    where d.reason is null
),
channels as (
    select l.channel, l.most, sum(l.sends)::int as sends,
           coalesce((
               select max(b.ordinal) + 1 from batches b
               where b.cohort_id = :cohort_id and b.step = :step and b.channel = l.channel and b.wave = 0), 0) as first_ordinal
    from languages l
    group by l.channel, l.most
),
new_batches as (
    insert into batches (cohort_id, step, channel, wave, ordinal, size, state, planned_at)
    select :cohort_id, :step, c.channel, 0, c.first_ordinal + nth, least(c.most, c.sends - nth * c.most), 'ready', :now
    from channels c
    cross join lateral generate_series(0, (c.sends - 1) / c.most) as nth
    order by c.channel, nth
    returning batch_id, channel, ordinal
),
batch_of as (
    select batch_id, channel, row_number() over (partition by channel order by ordinal) - 1 as nth_batch
    from new_batches
),
reserved as (
    -- Ten letters and digits out of 32 that can't be mistaken for each other, two of the 64 signs of base64 for each. They
    -- come from the enrollment and a secret that the server's strong random source gives for this plan alone.
    insert into coupons (code, mode, enrollment_id, step, customer_id, kind, value, valid_until, state, state_at)
    select upper(translate(
               left(encode(sha256(
                   (select uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) || int8send(d.enrollment_id)),
                   'base64'), 10),
               'IiOo01+/', '67892345')),
           :mode, d.enrollment_id, :step, d.customer_id, :coupon_kind, :coupon_value, :coupon_valid_until,
           'reserved', :now
    from planned_decisions d
    where d.reason is null and d.is_first and cast(:coupon_kind as text) is not null
    on conflict (enrollment_id, step) do update
        set state = 'reserved', state_at = excluded.state_at, valid_until = excluded.valid_until
        where coupons.state = 'given_back'
    returning coupon_id, enrollment_id
)
insert into messages (enrollment_id, cohort_id, step, channel, attempt, role, decision, reason, address, locale,
                      coupon_id, batch_id, due_at, not_before, not_after, planned_at)
select d.enrollment_id, :cohort_id, :step, d.channel, coalesce(d.attempt, 0) + 1,
       case when d.is_first then 'first' else 'also' end, 'send', null, d.address, d.locale,
       coalesce(
           r.coupon_id,
           -- The coupon of an earlier step goes with her.
           case when :has_coupons and exists (select from coupons k where k.enrollment_id = d.enrollment_id) then (
               select k.coupon_id from coupons k
               where k.enrollment_id = d.enrollment_id and k.state in ('reserved', 'issued')
               order by k.coupon_id desc limit 1) end),
       b.batch_id, :due_at, :due_at, :not_after, :now
from sends d
left join reserved r using (enrollment_id)
left join batch_of b on b.channel = d.channel and b.nth_batch = d.nth_batch
union all
select d.enrollment_id, :cohort_id, :step, d.channel, coalesce(d.attempt, 0) + 1, 'first', 'skip', d.reason, null, null,
       null, null, :due_at, :due_at, :not_after, :now
from planned_decisions d
where d.reason is not null and d.is_first and d.reason is distinct from d.last_reason
