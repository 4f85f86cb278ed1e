-- Append what is new; of one moment a suppression comes last, so that it counts. Returns the counts: new, changed, same,
-- repeated, older, gone.
with added as (
    insert into suppressions (channel, address, is_suppressed, reason, occurred_at, recorded_at)
    select channel, address, is_suppressed, reason, occurred_at,
           case when :is_history then least(occurred_at, :now) else :now end
    from incoming_suppressions
    where is_new
    order by occurred_at, channel, address, is_suppressed
    returning 1
)
select (select count(*) from added) as new, 0 as changed, 0 as gone, 0 as older,
       count(*) - (select count(*) from added) as same,
       (select count(*) from staged_suppressions) - count(*) as repeated
from incoming_suppressions
