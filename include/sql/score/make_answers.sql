-- Each live message that was handed over in the :look_back_s seconds up to :as_of, in the temporary table answers: whose (after
-- merges), its channel, the slot of the day it went out in by the customer's own clock, and whether a person answered: opened,
-- read, clicked or replied. What a machine did is left out. :customers null is everybody. plan/find_favourites counts alike.
create temporary table answers on commit drop as
with recursive chain as (
    select merged_id, kept_id from customer_merges
    where merged_at <= :known_at and (undone_at is null or undone_at > :known_at)
    union
    select c.merged_id, m.kept_id
    from chain c
    join customer_merges m on m.merged_id = c.kept_id
     and m.merged_at <= :known_at and (m.undone_at is null or m.undone_at > :known_at)
),
alias as (
    select merged_id, kept_id from chain where kept_id not in (select merged_id from chain)
),
zones as materialized (
    select name from pg_timezone_names
),
sent as (
    select coalesce(a.kept_id, e.customer_id) as customer_id, m.message_id, m.channel
    from messages m
    join enrollments e using (enrollment_id)
    left join alias a on a.merged_id = e.customer_id
    where e.mode = 'live' and m.decision = 'send'
      and m.planned_at > :as_of - make_interval(secs => :look_back_s) and m.planned_at <= :as_of
      and (cast(:customers as text[]) is null
           or coalesce(a.kept_id, e.customer_id) = any(cast(:customers as text[])))
),
heard as (
    select s.message_id, s.customer_id, s.channel, min(o.occurred_at) filter (where o.kind = 'accepted') as accepted_at,
           bool_or(o.kind <> 'accepted' and not o.is_machine) as is_answered
    from sent s
    join outcomes o using (message_id)
    where o.kind in ('accepted', 'opened', 'read', 'clicked', 'replied')
      and o.occurred_at <= :as_of and o.recorded_at <= :known_at
    group by s.message_id, s.customer_id, s.channel
)
select h.customer_id, h.channel, h.is_answered,
       extract(hour from h.accepted_at at time zone coalesce(z.name, :zone))::int / :slot_hours * :slot_hours as hour
from heard h
join as_of.customers c using (customer_id)
left join zones z on z.name = c.timezone
where h.accepted_at is not null
