-- The scorecard of churn as of :as_of, in the temporary table churn_scores: of everybody in the table rhythms who is a customer
-- then, what goes into each indicator, how much of it counts (0 to 1; null: no data), what it adds to the score, and the
-- score. :usual_days is everybody's interval or null; an own one counts as much as :draw of it, and alone from so many on.
create temporary table churn_scores on commit drop as
with members as (
    select customer_id from customers
    where recorded_at <= :known_at and (cast(:one as text) is null or customer_id = :one)
      and (occurred_at <= :as_of
           or exists (select from customer_history h
                      where h.customer_id = customers.customer_id and h.occurred_at <= :as_of))
    union
    select customer_id from customer_history c
    where recorded_at <= :known_at and replaced_at > :known_at and (cast(:one as text) is null or customer_id = :one)
      and (occurred_at <= :as_of
           or exists (select from customer_history h
                      where h.customer_id = c.customer_id and h.occurred_at <= :as_of and h.replaced_at <= c.recorded_at))
),
logins as (
    select customer_id, max(occurred_at) as login_at
    from events
    where kind = 'login' and occurred_at > :logins_from and occurred_at <= :as_of and recorded_at <= :known_at
      and (cast(:one as text) is null or customer_id = :one)
    group by customer_id
),
told as (
    -- What was handed over to be sent to the customer, and what came back from a person.
    select e.customer_id, o.occurred_at, o.kind = 'accepted' as is_contact
    from outcomes o
    join messages m on m.message_id = o.message_id
    join enrollments e on e.enrollment_id = m.enrollment_id
    where o.kind in ('accepted', 'opened', 'clicked', 'replied') and not o.is_machine and e.mode = 'live'
      and o.occurred_at > :contacts_from and o.occurred_at <= :as_of and o.recorded_at <= :known_at
      and (cast(:one as text) is null or e.customer_id = :one)
),
answers as (
    select customer_id, max(occurred_at) as answered_at from told where not is_contact group by customer_id
),
contacts as (
    select t.customer_id, count(*) as contacts,
           count(*) filter (
               where t.occurred_at > coalesce(greatest(a.answered_at, l.login_at, r.last_order_at), '-infinity')
           ) as unanswered
    from told t
    left join answers a using (customer_id)
    left join logins l using (customer_id)
    left join rhythms r using (customer_id)
    where t.is_contact and t.occurred_at <= :answered_by
    group by t.customer_id
),
complaints as (
    select customer_id, count(*) filter (where kind = 'complaint_opened') as opened,
           count(*) filter (where kind = 'complaint_solved') as solved
    from events
    where kind in ('complaint_opened', 'complaint_solved') and occurred_at > :complaints_from and occurred_at <= :as_of
      and recorded_at <= :known_at and (cast(:one as text) is null or customer_id = :one)
    group by customer_id
),
inputs as (
    select r.customer_id, r.last_on, r.intervals, r.own_days, r.placed, r.undone as came_to_nothing,
           (:as_of at time zone :zone)::date - r.last_on as silent_days,
           case when cast(:usual_days as float8) is not null
                    then (r.intervals * coalesce(r.own_days, 0) + :draw * cast(:usual_days as float8)) / (r.intervals + :draw)
                when r.intervals >= :draw then r.own_days end as drawn_days,
           case when :has_logins
                    then least(date_part('epoch', cast(:as_of as timestamptz) - greatest(l.login_at, r.last_order_at)),
                               cast(:login_full as float8)) end as unseen_s,
           coalesce(c.contacts, 0) as contacts, c.unanswered,
           coalesce(k.opened, 0) as opened, least(coalesce(k.solved, 0), coalesce(k.opened, 0)) as solved
    from rhythms r
    join members using (customer_id)
    left join logins l using (customer_id)
    left join contacts c using (customer_id)
    left join complaints k using (customer_id)
    offset 0  -- Here and below: worked out once, not once for each place that uses it.
),
measured as (
    select *, silent_days / case when drawn_days is not null then greatest(drawn_days, 1) end as overdue_by,
           case when :has_complaints then opened - solved / 2.0::float8 end as complained,
           case when :has_undone and placed > 0 then came_to_nothing / cast(placed as float8) end as undone_share
    from inputs
    offset 0
),
counted as (
    select *, ramp(overdue_by, :overdue_begins, :overdue_full) as overdue, ramp(unseen_s, :login_begins, :login_full) as no_login,
           ramp(unanswered, :response_begins, :response_full) as no_response,
           ramp(complained, :complaints_begins, :complaints_full) as complaints,
           ramp(undone_share, :undone_begins, :undone_full) as undone
    from measured
    offset 0
),
weighed as (
    select *, (case when overdue is not null then :overdue_weight else 0 end
               + case when no_login is not null then :login_weight else 0 end
               + case when no_response is not null then :response_weight else 0 end
               + case when complaints is not null then :complaints_weight else 0 end
               + case when undone is not null then :undone_weight else 0 end) as known
    from counted
)
select customer_id, last_on, silent_days, intervals, own_days, drawn_days, overdue_by, unseen_s / 86400 as unseen_days,
       contacts, unanswered, opened, solved, complained, placed, came_to_nothing, undone_share,
       overdue, no_login, no_response, complaints, undone, known,
       -- Rounded, so that what is on a threshold is on it.
       case when known > 0 and known >= cast(:least_weight as float8) then
           round(cast(100 * (coalesce(overdue, 0) * :overdue_weight + coalesce(no_login, 0) * :login_weight
                             + coalesce(no_response, 0) * :response_weight
                             + coalesce(complaints, 0) * :complaints_weight
                             + coalesce(undone, 0) * :undone_weight) / known as numeric), 4)
       end as score
from weighed
