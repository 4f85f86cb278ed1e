-- START of these numbers: what their own STOP ended goes on, and nothing else does. A suppression is lifted if all that has
-- stood since the last lifting is of STOP's making. Looks at every START of the number, so that the order in which messages
-- are heard of changes nothing.
insert into suppressions (channel, address, is_suppressed, reason, occurred_at, recorded_at)
select distinct r.channel, r.address, false, 'start', r.occurred_at, cast(:now as timestamptz)
from unnest(string_to_array(:channels, e'\x1f'), string_to_array(:addresses, e'\x1f')) as asked (channel, address)
join replies r using (channel, address)
where r.meaning = 'start'
  and exists (
      select from suppressions s
      where s.channel = r.channel and s.address = r.address and s.is_suppressed and s.occurred_at < r.occurred_at
        and s.reason = any(cast(:own_reasons as text[]))
        and not exists (
            select from suppressions l
            where l.channel = r.channel and l.address = r.address and not l.is_suppressed
              and l.occurred_at between s.occurred_at and r.occurred_at))
  and not exists (
      select from suppressions s
      where s.channel = r.channel and s.address = r.address and s.is_suppressed and s.occurred_at <= r.occurred_at
        and not s.reason = any(cast(:own_reasons as text[]))
        and not exists (
            select from suppressions l
            where l.channel = r.channel and l.address = r.address and not l.is_suppressed
              and l.occurred_at > s.occurred_at and l.occurred_at <= r.occurred_at and l.reason <> 'start'))
returning channel, address, extract(epoch from occurred_at)::float8 as moment
