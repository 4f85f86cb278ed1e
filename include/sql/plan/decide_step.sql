-- What becomes of everybody in planned_people at one step on one channel, and why: fills planned_decisions. Run for the
-- step's channels in their order; the next one is for those whom none before reaches, or with :on_each for all.
--
-- The reasons stand here in the published order but for the last, which look at the messages that are left:
-- refuse_duplicates.sql gives duplicate_address, yield_turn.sql outranked, cap_contacts.sql and cap_made_up.sql frequency_cap.
-- What the law of a country asks for besides (refuse_unlawful.sql) counts as no_consent.
--
-- What concerns few people is asked of the views of as_of, person by person, behind a coarser question of the bare table
-- ("any order at all since?"). That one Postgres answers for a large cohort in one look and for a small one by an index.
insert into planned_decisions (enrollment_id, customer_id, attempt, last_reason, place, channel, address, locale,
                               zone, country, is_first, way_reason, reason)
with known as (
    -- Everybody's record as of the decision instant; of whom we have learned something since, it is asked of as_of.
    select p.*, c.customer_id is not null as is_latest, c.email, c.phone, c.locale, c.timezone, c.country,
           case when c.customer_id is null then (
               select k from as_of.customers k where k.customer_id = p.customer_id limit 1) end as earlier,
           :place = 1 or not :on_each or not exists (
               select from planned_decisions d
               where d.enrollment_id = p.enrollment_id and d.way_reason is null) as is_first
    from planned_people p
    left join customers c
        on c.customer_id = p.customer_id and c.occurred_at <= :seen_at and c.recorded_at <= :seen_at
    where :place = 1 or :on_each or not exists (
        select from planned_decisions d
        where d.enrollment_id = p.enrollment_id and d.way_reason is null)
        or :has_favourites and p.enrollment_id in (select enrollment_id from planned_favourites)
    offset 0  -- each of these three is worked out once a person
),
ways as (
    select enrollment_id, customer_id, arm, entered_at, attempt, last_reason, is_first,
           is_latest or (earlier).customer_id is not null as is_known,
           coalesce(locale, (earlier).locale, :default_locale) as locale,
           coalesce(case when is_latest then timezone else (earlier).timezone end, '') as zone,
           coalesce(case when is_latest then country else (earlier).country end, '') as country,
           case cast(:channel as text)
               when 'email' then as_of.usable_email(coalesce(email, (earlier).email))
               when 'webhook' then case when is_latest then customer_id else (earlier).customer_id end
               else coalesce(phone, (earlier).phone)
           end as address
    from known
    offset 0
),
reached as (
    -- The rules of as_of.reach; a test compares the two.
    select w.*,
           case
               when not w.is_known then 'no_address'
               when exists (select from suppressions s where s.channel = :channel and s.address = w.address)
                   and (select s.is_suppressed from as_of.suppressions s
                        where s.channel = :channel and s.address = w.address limit 1) then 'suppressed'
               when :purpose <> 'transactional' and not exists (
                       select from consents k
                       where k.customer_id = w.customer_id and k.channel = :channel and k.purpose = :purpose
                         and k.is_granted and k.occurred_at <= :seen_at and k.recorded_at <= :seen_at)
                   or exists (
                       select from consents k
                       where k.customer_id = w.customer_id and k.channel = :channel and k.purpose = :purpose
                         and not k.is_granted)
                   and not coalesce((
                       select k.is_granted from consents k
                       where k.customer_id = w.customer_id and k.channel = :channel and k.purpose = :purpose
                         and k.occurred_at <= :seen_at and k.recorded_at <= :seen_at
                       order by k.occurred_at desc, k.consent_id desc
                       limit 1), :purpose = 'transactional') then 'no_consent'
               when w.address is null then 'no_address'
           end as way_reason
    from ways w
    offset 0
)
select r.enrollment_id, r.customer_id, r.attempt, r.last_reason,
       -- Her favourite channel comes before the journey's order.
       case when :has_favourites and (r.enrollment_id, :channel) in (select enrollment_id, channel from planned_favourites)
            then 0 else :place end,
       :channel, r.address, r.locale, r.zone, r.country, r.is_first, r.way_reason,
       case
           when r.arm = 'holdout' and :purpose = 'marketing' then 'holdout'
           when :is_stopped then 'stopped'
           when :is_retired then 'retired'
           when r.customer_id in (select merged_id from customer_merges where undone_at is null) then 'merged'
           when :exit_unsubscribed
               and exists (
                   select from consents k
                   where k.customer_id = r.customer_id and k.purpose = 'marketing' and not k.is_granted
                     and k.occurred_at >= :first_entered_at)
               and exists (
                   select from as_of.consents k
                   where k.customer_id = r.customer_id and k.purpose = 'marketing' and not k.is_granted
                     and k.occurred_at >= r.entered_at) then 'exited'
           when :has_exits
               and r.enrollment_id in (select enrollment_id from planned_conditions where node = -1) then 'exited'
           when :exit_goal_met and :goal_event = 'order'
               and exists (
                   select from (
                       select customer_id, occurred_at from orders
                       union all
                       select customer_id, occurred_at from order_history) as o
                   where o.customer_id = r.customer_id and o.occurred_at >= :first_entered_at)
               and exists (
                   select from as_of.orders o
                   where o.customer_id = r.customer_id and o.occurred_at >= r.entered_at
                     and o.occurred_at < r.entered_at + make_interval(secs => :goal_within_s)
                     and o.status not in ('cancelled', 'refunded')) then 'goal_met'
           when :exit_goal_met and :goal_event <> 'order'
               and exists (
                   select from events v
                   where v.customer_id = r.customer_id and v.kind = :goal_event and v.occurred_at >= :first_entered_at)
               and exists (
                   select from as_of.events v
                   where v.customer_id = r.customer_id and v.kind = :goal_event
                     and v.occurred_at >= r.entered_at
                     and v.occurred_at < r.entered_at + make_interval(secs => :goal_within_s)) then 'goal_met'
           when :is_expired then 'expired'
           when :has_condition
               and r.enrollment_id not in (select enrollment_id from planned_conditions where node = 0) then 'not_needed'
           when r.way_reason is not null then r.way_reason
       end as reason
from reached r
