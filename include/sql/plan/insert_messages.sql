-- Write down what planned_decisions says: a message a decision, and for the sends their batches and coupons. Batches go on
-- counting after those of earlier attempts, and rarely mix languages: a channel's sends are dealt in the order of locale.
-- What holds for a person is said once, on her first row; a new attempt is written only where it comes out differently.
with kept as not materialized (
    select d.*, h.wave, h.not_before, h.not_after
    from planned_decisions d
    join planned_hours h on (h.channel, h.zone, h.country) = (d.channel, d.zone, d.country)
    where d.reason is null
),
languages as (
    -- The sends of each channel, wave and locale, and how many sends of other channels and waves come before them. One
    -- number to sort by stands for them and the enrollment: sorting a million by the four takes twice as long.
    select channel, wave, locale, count(*) as sends, (cast(:batch_sizes as jsonb) ->> channel)::int as most,
           row_number() over (order by channel, wave, locale) * (cast(:last_id as bigint) + 1) as first_key,
           coalesce(sum(count(*)) over (order by channel, wave groups between unbounded preceding and 1 preceding), 0)::int
               as before
    from kept
    group by channel, wave, locale
),
sends as (
    select k.*,
           (row_number() over (order by l.first_key + k.enrollment_id) - 1 - l.before) / l.most as nth_batch
    from kept k
    join languages l using (channel, wave, locale)
),
waves as (
    select l.channel, l.wave, l.most, sum(l.sends)::int as sends,
           coalesce((
               select max(b.ordinal) + 1 from batches b
               where b.cohort_id = :cohort_id and b.step = :step and b.channel = l.channel and b.wave = l.wave), 0)
               as first_ordinal
    from languages l
    group by l.channel, l.wave, l.most
),
hours as (
    select distinct on (channel, wave) channel, wave, not_before, batch_zone, opens, closes
    from planned_hours
    order by channel, wave
),
new_batches as (
    insert into batches (cohort_id, step, channel, wave, ordinal, size, not_before, zone, opens, closes, state, planned_at)
    select :cohort_id, :step, w.channel, w.wave, w.first_ordinal + nth, least(w.most, w.sends - nth * w.most),
           h.not_before, h.batch_zone, h.opens, h.closes, 'ready', :now
    from waves w
    join hours h using (channel, wave)
    cross join lateral generate_series(0, (w.sends - 1) / w.most) as nth
    order by w.channel, w.wave, nth
    returning batch_id, channel, wave, ordinal
),
batch_of as (
    select batch_id, channel, wave, row_number() over (partition by channel, wave order by ordinal) - 1 as nth_batch
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
       case when :is_fallback then 'fallback' when d.is_first then 'first' else 'also' end, 'send', null, d.address, d.locale,
       coalesce(
           r.coupon_id,
           -- The coupon of an earlier step goes with her.
           case when :has_coupons and exists (select from coupons k where k.enrollment_id = d.enrollment_id) then (
               select k.coupon_id from coupons k
               where k.enrollment_id = d.enrollment_id and k.state in ('reserved', 'issued')
               order by k.coupon_id desc limit 1) end),
       b.batch_id, :due_at, d.not_before, d.not_after, :now
from sends d
left join reserved r using (enrollment_id)
left join batch_of b on b.channel = d.channel and b.wave = d.wave and b.nth_batch = d.nth_batch
union all
select d.enrollment_id, :cohort_id, :step, d.channel, coalesce(d.attempt, 0) + 1, 'first', 'skip', d.reason, null, null,
       null, null, :due_at, :due_at, :not_after, :now
from planned_decisions d
where d.reason is not null and d.is_first and d.reason is distinct from d.last_reason and not :is_fallback
