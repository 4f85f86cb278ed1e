-- Whom of planned_people to write to on which channel before the step's own order says: in the temporary table
-- planned_favourites, a row a person. :choice is what counts, the first that tells: `preference`, the channel she named
-- herself; `response`, the one she has answered best on since :response_since. Responses are opens, clicks and replies of
-- people; two messages without one are added to each channel's, so that a single click proves little.
create temporary table planned_favourites on commit drop as
with preference as (
    select p.enrollment_id, coalesce(c.attributes ->> 'preferred_channel', '') as channel
    from planned_people p
    join customers c on c.customer_id = p.customer_id and c.occurred_at <= :seen_at and c.recorded_at <= :seen_at
    where 'preference' = any(cast(:choice as text[]))
      and c.attributes ->> 'preferred_channel' = any(cast(:channels as text[]))
),
answered as (
    select p.enrollment_id, m.channel, count(*) as sent,
           count(*) filter (where exists (
               select from outcomes o
               where o.message_id = m.message_id and o.kind in ('opened', 'clicked', 'replied')
                 and not o.is_machine and o.recorded_at <= :seen_at)) as responses
    from planned_people p
    join enrollments e on e.customer_id = p.customer_id and e.mode = :mode
    join messages m on m.enrollment_id = e.enrollment_id
    where 'response' = any(cast(:choice as text[]))
      and m.decision = 'send' and m.channel = any(cast(:channels as text[]))
      and m.planned_at >= :response_since and m.planned_at <= :seen_at
    group by p.enrollment_id, m.channel
),
response as (
    select distinct on (enrollment_id) enrollment_id, channel
    from answered
    where responses > 0
    order by enrollment_id, responses / (sent + 2.0) desc, array_position(cast(:channels as text[]), channel)
)
select distinct on (enrollment_id) enrollment_id, channel
from (
    select enrollment_id, channel, array_position(cast(:choice as text[]), 'preference') as rank from preference
    union all
    select enrollment_id, channel, array_position(cast(:choice as text[]), 'response') from response
) as said
order by enrollment_id, rank
