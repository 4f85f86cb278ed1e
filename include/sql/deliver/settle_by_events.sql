-- Messages in doubt of which the provider has reported anything since were accepted. Returns their ids.
insert into outcomes (message_id, kind, reason, provider, provider_id, occurred_at, recorded_at)
select distinct on (u.message_id) u.message_id, 'accepted', 'settled by event ' || e.kind, u.provider, e.provider_id, :now, :now
from outcomes u
join outcomes e on e.message_id = u.message_id and e.kind = any(cast(:kinds as text[]))
where u.kind = 'unknown'
  and not exists (
      select from outcomes o where o.message_id = u.message_id and o.kind in ('accepted', 'withheld', 'refused'))
order by u.message_id, e.outcome_id
on conflict do nothing
returning message_id
