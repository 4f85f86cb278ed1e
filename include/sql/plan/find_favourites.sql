-- Whom of planned_people to write to on which channel before the step's own order says: in the temporary table
-- planned_favourites, a row a person. :choice is what counts, the first that tells: `preference`, the channel she named
-- herself; `response`, the one she has answered best on. That is judged as score/make_answers and score/write_preferences do,
-- by as_of.shrunken_rate and the shop's rates of the preferences that hold; but by what happened up to now. Before the first
-- run of preferences two messages without an answer are added to each channel's, so that a single click proves little.
create temporary table planned_favourites on commit drop as
with preference as (
    select p.enrollment_id, coalesce(c.attributes ->> 'preferred_channel', '') as channel
    from planned_people p
    join customers c on c.customer_id = p.customer_id and c.occurred_at <= :seen_at and c.recorded_at <= :seen_at
    where 'preference' = any(cast(:choice as text[]))
      and c.attributes ->> 'preferred_channel' = any(cast(:channels as text[]))
),
rules as (
    select coalesce(max(look_back_s), :look_back_s) as look_back_s, coalesce(max(strength), 2) as strength
    from as_of.preference_runs
),
answered as (
    select p.enrollment_id, m.channel, count(*) as sent,
           count(*) filter (where exists (
               select from outcomes o
               where o.message_id = m.message_id and o.kind in ('opened', 'read', 'clicked', 'replied')
                 and not o.is_machine and o.recorded_at <= :seen_at)) as responses
    from planned_people p
    join enrollments e on e.customer_id = p.customer_id and e.mode = :mode
    join messages m on m.enrollment_id = e.enrollment_id
    cross join rules
    where 'response' = any(cast(:choice as text[]))
      and m.decision = 'send' and m.channel = any(cast(:channels as text[]))
      and m.planned_at > cast(:seen_at as timestamptz) - make_interval(secs => rules.look_back_s)
      and m.planned_at <= :seen_at
      and exists (
          select from outcomes o
          where o.message_id = m.message_id and o.kind = 'accepted' and o.recorded_at <= :seen_at)
    group by p.enrollment_id, m.channel
),
response as (
    select distinct on (a.enrollment_id) a.enrollment_id, a.channel
    from answered a
    cross join rules
    left join as_of.preference_rates r on r.kind = 'channel' and r.option = a.channel
    where a.responses > 0
    order by a.enrollment_id, as_of.shrunken_rate(a.responses, a.sent, r.rate, rules.strength) desc, a.responses desc,
             array_position(cast(:channels as text[]), a.channel)
)
select distinct on (enrollment_id) enrollment_id, channel
from (
    select enrollment_id, channel, array_position(cast(:choice as text[]), 'preference') as rank from preference
    union all
    select enrollment_id, channel, array_position(cast(:choice as text[]), 'response') from response
) as said
order by enrollment_id, rank
