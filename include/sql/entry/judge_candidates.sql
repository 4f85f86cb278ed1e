-- Who of the named enters: one row a customer in the temporary table judged, with the reason of a refusal or null,
-- the arm, the audience (where there are several), and whether the customer could be written to at all at this moment.
create temporary table judged on commit drop as
with recursive chain as (
    select merged_id, kept_id from customer_merges where undone_at is null
    union
    select c.merged_id, m.kept_id
    from chain c
    join customer_merges m on m.merged_id = c.kept_id and m.undone_at is null
),
alias as (
    -- Ids of one person: each that goes on under another, with the one at the end of its chain.
    select c.merged_id, c.kept_id
    from chain c
    where not exists (select from customer_merges m where m.merged_id = c.kept_id and m.undone_at is null)
),
carried as (
    -- Where a person was in the journey under an id that was merged, beside the enrollments of the kept one.
    select a.kept_id as customer_id, e.occurrence, e.entered_at
    from alias a
    join enrollments e on e.customer_id = a.merged_id and e.mode = :mode and e.journey = :journey
),
named as (
    -- One occurrence a customer: a fresh one before the backlog, the first audience's before the next one's. What already entered is no candidate. A moment before
    -- a merge still names the merged id: the person enters under the kept one.
    select distinct on (customer_id) customer_id, occurrence, is_fresh, nth
    from (
        select coalesce(a.kept_id, n.customer_id) as customer_id, n.occurrence, n.is_fresh, n.nth
        from (
            select customer_id, occurrence, true as is_fresh, nth from audience_fresh
            union all
            select customer_id, occurrence, false, nth from audience_backlog
        ) as n
        left join alias a on a.merged_id = n.customer_id
    ) as candidates
    where not exists (
        select from enrollments e
        where e.mode = :mode and e.journey = :journey
          and e.customer_id = candidates.customer_id and e.occurrence = candidates.occurrence)
      and not exists (
        select from carried c
        where c.customer_id = candidates.customer_id and c.occurrence = candidates.occurrence)
    order by customer_id, is_fresh desc, nth, occurrence desc
),
known as (
    select n.*, as_of.usable_email(c.email) as email, c.phone,
           case when c.customer_id is null then 'no_address' else way.reason end as ineligible_reason,
           ('x' || left(encode(sha256(convert_to(:arm_salt || '|' || n.customer_id, 'UTF8')), 'hex'), 8))::bit(32)::bigint
               / 4294967296.0 as draw
    from named n
    left join lateral (
        select c.customer_id, c.email, c.phone from as_of.customers c where c.customer_id = n.customer_id limit 1
    ) as c on true
    left join lateral (
        -- Reachable on any of the journey's channels, else the first reason in the published order.
        select r.reason
        from as_of.reach r
        join unnest(cast(:channels as text[]), cast(:purposes as text[])) as wanted (channel, purpose)
            using (channel, purpose)
        where r.customer_id = n.customer_id
        order by array_position(array[null, 'suppressed', 'no_consent', 'no_address'], r.reason)
        limit 1
    ) as way on true
),
elsewhere as (
    -- Whom other journeys leave no room for this one: the cohorts of those, and their people under the kept ids.
    select coalesce(a.kept_id, e.customer_id) as customer_id, min(o.reason) as reason
    from (
        select c.cohort_id, 'resting' as reason
        from unnest(cast(:rested as text[]), cast(:rests_s as float8[])) as rest (journey, rest_s)
        join cohorts c on c.mode = :mode and c.journey = rest.journey
        where c.cohort_at <= :cohort_at and c.cohort_at > :cohort_at - make_interval(secs => rest.rest_s)
        union all
        select c.cohort_id, 'under_way'
        from cohorts c
        where c.mode = :mode and c.journey = any(cast(:not_while_in as text[])) and c.cohort_at <= :cohort_at
          and exists (select from cohort_steps s where s.cohort_id = c.cohort_id and s.not_after > :cohort_at)
    ) as o
    join enrollments e using (cohort_id)
    left join alias a on a.merged_id = e.customer_id
    group by 1
),
refused as (
    select k.*,
           case
               when exists (
                   select from enrollments e
                   where e.mode = :mode and e.journey = :journey and e.customer_id = k.customer_id
                     and (cast(:reenter_s as float8) is null
                          or abs(extract(epoch from e.entered_at - :cohort_at)) < :reenter_s))
                 or k.customer_id in (
                   select c.customer_id from carried c
                   where cast(:reenter_s as float8) is null
                      or abs(extract(epoch from c.entered_at - :cohort_at)) < :reenter_s)
                   then 'reenter_after'
               when exists (
                   select from enrollments e
                   where e.mode = :mode and e.journey = :journey and e.email = k.email
                     and (cast(:reenter_s as float8) is null
                          or abs(extract(epoch from e.entered_at - :cohort_at)) < :reenter_s))
                 or exists (
                   select from enrollments e
                   where e.mode = :mode and e.journey = :journey and e.phone = k.phone
                     and (cast(:reenter_s as float8) is null
                          or abs(extract(epoch from e.entered_at - :cohort_at)) < :reenter_s))
                   then 'same_address'
               when elsewhere.reason is not null then elsewhere.reason
               when not is_fresh and :backlog = 'skip' then 'backlog'
           end as reason
    from known k
    left join elsewhere using (customer_id)
),
dealt as (
    -- Into the arms outside the holdout by a lot of its own, so that another holdout deals nobody anew.
    select r.*,
           case when r.draw < :holdout then 'holdout'
                when cardinality(cast(:arms as text[])) = 1 then (cast(:arms as text[]))[1]
                else (cast(:arms as text[]))[1 + (
                    select count(*) from unnest(cast(:ends as float8[])) as arm_end (place)
                    where arm_end.place <= ('x' || left(encode(sha256(convert_to(
                        :arm_salt || '|arm|' || r.customer_id, 'UTF8')), 'hex'), 8))::bit(32)::bigint / 4294967296.0)]
           end as arm
    from refused r
),
ranked as (
    -- Capacity is dealt out within the arm, by a draw of its own, so that it can't bias the comparison.
    select r.*,
           row_number() over (
               partition by reason is null, arm
               order by is_fresh desc, ineligible_reason is not null, rank.rank nulls last,
                        sha256(convert_to(:arm_salt || '|rank|' || customer_id, 'UTF8'))) as place,
           count(*) over (partition by reason is null, arm) as arm_size,
           count(*) over (partition by reason is null) as all_size
    from dealt r
    left join audience_ranks rank using (customer_id)
),
seats as (
    -- The day's places, dealt to the arms by their sizes, none too many: what is left of a place goes by lot, so that an arm has its
    -- share in the long run, however few there are a day (systematic sampling).
    select arm, floor(most * reached / all_size + lot) - floor(most * (reached - arm_size) / all_size + lot) as seats
    from (
        select arm, arm_size, all_size, sum(arm_size) over (order by arm) as reached,
               cast(:max_per_day as numeric) as most,
               ('x' || left(encode(sha256(convert_to(:arm_salt || '|seats|' || extract(epoch from :cohort_at), 'UTF8')), 'hex'), 8)
               )::bit(32)::bigint / 4294967296.0 as lot
        from (select distinct arm, arm_size, all_size from ranked where reason is null) as sizes
    ) as shares
)
select customer_id, occurrence, is_fresh, email, phone, arm, ineligible_reason,
       (cast(:audiences as text[]))[nth] as audience,
       case when reason is null and place > seats then 'max_per_day'
            else reason end as reason
from ranked
left join seats using (arm)
