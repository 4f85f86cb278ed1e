-- The last check before a batch is handed over, at the send instant: it can only withhold. Returns each
-- message with the reason why it was withheld, null where it may go. Facts are seen through as_of, set to this instant.
with pending as (
    select m.message_id, m.channel, m.address, m.not_after, e.customer_id, e.entered_at
    from messages m
    join enrollments e using (enrollment_id)
    where m.batch_id = :batch_id
      and not exists (
          select from outcomes o
          where o.message_id = m.message_id and o.kind in ('accepted', 'withheld', 'refused', 'unknown'))
),
latest as (
    -- as_of.consents, of these people alone: through the view everybody's would be sorted for each batch.
    select distinct on (k.customer_id, k.channel, k.purpose)
           k.customer_id, k.is_granted, k.channel = p.channel and k.purpose = :purpose as is_ours,
           k.purpose = 'marketing' and not k.is_granted and k.occurred_at >= p.entered_at as is_leaving
    from pending p
    -- offset 0 keeps it a look-up of each person, whatever the planner thinks of the table's size
    cross join lateral (select c.* from consents c where c.customer_id = p.customer_id offset 0) as k
    where k.occurred_at <= :now and k.recorded_at <= :now
    order by k.customer_id, k.channel, k.purpose, k.occurred_at desc, k.consent_id desc
),
said as (
    -- Whether they agree on this channel for this purpose (null: never said), and whether they left since they entered.
    select customer_id, bool_or(is_granted) filter (where is_ours) as is_granted, bool_or(is_leaving) as has_left
    from latest
    group by customer_id
),
judged as (
    select p.*,
           case
               when :is_stopped then 'stopped'
               when p.customer_id in (select merged_id from customer_merges where undone_at is null) then 'merged'
               when :exit_unsubscribed and k.has_left then 'exited'
               when :exit_goal_met and (
                   :goal_event = 'order' and exists (
                       select from as_of.orders o
                       where o.customer_id = p.customer_id and o.occurred_at >= p.entered_at
                         and o.occurred_at < p.entered_at + make_interval(secs => :goal_within_s)
                         and o.status not in ('cancelled', 'refunded'))
                   or :goal_event <> 'order' and exists (
                       select from as_of.events v
                       where v.customer_id = p.customer_id and v.kind = :goal_event
                         and v.occurred_at >= p.entered_at
                         and v.occurred_at < p.entered_at + make_interval(secs => :goal_within_s))) then 'goal_met'
               when :now >= p.not_after then 'expired'
               when exists (
                   select from as_of.suppressions s
                   where s.channel = p.channel and s.address = p.address and s.is_suppressed) then 'suppressed'
               -- Marketing needs a granted consent, transactional messages only the absence of a withdrawn one.
               when not coalesce(k.is_granted, :purpose = 'transactional') then 'no_consent'
           end as reason
    from pending p
    left join said k using (customer_id)
),
withheld as (
    insert into outcomes (message_id, kind, reason, occurred_at, recorded_at)
    select message_id, 'withheld', reason, :now, :now from judged where reason is not null
    on conflict do nothing
)
select message_id, reason from judged order by message_id
