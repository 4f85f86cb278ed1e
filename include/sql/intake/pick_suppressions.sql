-- The staged addresses that must not be used, each once: the temporary table incoming_suppressions. A row without a time
-- says how it stands now: it can add a suppression, never lift one.
create temporary table incoming_suppressions on commit drop as
with dated as (
    select distinct on (channel, address, is_suppressed, occurred_at) channel, address, is_suppressed, reason, occurred_at
    from staged_suppressions
    where occurred_at is not null and not is_gone
    order by channel, address, is_suppressed, occurred_at, row_line desc
),
standing as (
    select distinct on (channel, address) channel, address, is_suppressed, reason
    from staged_suppressions
    where occurred_at is null and not is_gone
    order by channel, address, row_line desc
)
select d.channel, d.address, d.is_suppressed, d.reason, d.occurred_at,
       not exists (
           select from suppressions x
           where x.channel = d.channel and x.address = d.address and x.is_suppressed = d.is_suppressed
             and x.occurred_at = d.occurred_at) as is_new
from dated d
union all
select s.channel, s.address, s.is_suppressed, s.reason, :now,
       s.is_suppressed and not coalesce((
           select x.is_suppressed from suppressions x
           where x.channel = s.channel and x.address = s.address
           order by x.occurred_at desc, x.suppression_id desc
           limit 1), false) as is_new
from standing s
