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
    -- A code that was given back is given again where it is generated; one of a pool may be somebody else's by now.
    insert into coupons (code, mode, enrollment_id, step, customer_id, kind, value, minimum, currency, gift, pool, pool_until,
                         valid_until, counts_until, state, state_at, reserved_at)
    select c.code, :mode, c.enrollment_id, :step, c.customer_id, o.kind, o.value, o.minimum, o.currency, o.gift, c.pool,
           c.pool_until, c.valid_until, c.valid_until + make_interval(secs => o.grace_s), 'reserved', :now, :now
    from planned_coupons c
    join jsonb_to_recordset(cast(:offers as jsonb)) as o(
        offer smallint, kind text, value numeric, minimum numeric, currency text, gift jsonb, grace_s float8) using (offer)
    where c.coupon_id is null and c.code is not null
    on conflict (enrollment_id, step) do update
        set (kind, value, minimum, currency, gift, pool, pool_until, valid_until, counts_until, state, state_at, reserved_at) =
                (excluded.kind, excluded.value, excluded.minimum, excluded.currency, excluded.gift, excluded.pool,
                 excluded.pool_until, excluded.valid_until, excluded.counts_until, excluded.state, excluded.state_at,
                 excluded.reserved_at),
            code = case when coupons.pool is null and excluded.pool is null then coupons.code else excluded.code end
        where coupons.state = 'given_back'
    returning coupon_id, enrollment_id
)
insert into messages (enrollment_id, cohort_id, step, channel, attempt, role, decision, reason, address, locale,
                      coupon_id, batch_id, due_at, not_before, not_after, planned_at, template, facts)
select d.enrollment_id, :cohort_id, :step, d.channel, coalesce(d.attempt, 0) + 1,
       case when :is_fallback then 'fallback' when :is_repeat then 'repeat' when d.is_first then 'first' else 'also' end, 'send', null, d.address, d.locale,
       coalesce(r.coupon_id, c.coupon_id),
       b.batch_id, :due_at, d.not_before, d.not_after, :now, w.template, w.facts
from sends d
left join planned_coupons c using (enrollment_id)
left join reserved r using (enrollment_id)
left join planned_choices w using (enrollment_id)
left join batch_of b on b.channel = d.channel and b.wave = d.wave and b.nth_batch = d.nth_batch
union all
select d.enrollment_id, :cohort_id, :step, d.channel, coalesce(d.attempt, 0) + 1, 'first', 'skip', d.reason, null, null,
       null, null, :due_at, :due_at, :not_after, :now, null, null
from planned_decisions d
where d.reason is not null and d.is_first and d.reason is distinct from d.last_reason and not :is_fallback and not :is_repeat
