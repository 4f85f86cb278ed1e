-- Append a click, once a minute for each link (a page that is loaded again is no second click). Two links of one message
-- within seconds are a scanner's: both are a machine's then, also the one that came first.
with near as (
    select o.outcome_id, o.is_machine
    from outcomes o
    where o.message_id = :message_id and o.kind = 'clicked' and o.link_id <> :link_id
      and o.occurred_at > cast(:now as timestamptz) - make_interval(secs => :seconds)
),
flagged as (
    update outcomes o set is_machine = true
    from near
    where o.message_id = :message_id and o.outcome_id = near.outcome_id and not near.is_machine
),
judged as (
    select :is_machine or exists (select from near) as is_machine
)
insert into outcomes (message_id, kind, link_id, is_machine, occurred_at, recorded_at, event_key)
select :message_id, 'clicked', :link_id, j.is_machine, :now, :now,
       hashtextextended('click|' || cast(:link_id as text) || '|' || j.is_machine || '|'
                        || floor(extract(epoch from cast(:now as timestamptz)) / 60), 0)
from judged j
on conflict do nothing
