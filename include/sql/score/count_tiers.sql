-- How the number of people in each tier of :scheme changed up to each of :moments (rising): `step` is the place of the first
-- moment that a change counts for, from 0 on. Added up they are who was there: each change adds one and takes one away.
select tier, step, sum(change)::bigint as people
from (
    select side.tier, side.change,
           width_bucket(t.since - interval '1 microsecond', cast(:moments as timestamptz[])) as step
    from tiers t
    cross join lateral (values (t.tier, 1), (t.previous, -1)) as side (tier, change)
    where t.scheme = :scheme and t.since <= (cast(:moments as timestamptz[]))[cardinality(cast(:moments as timestamptz[]))]
      and side.tier is not null
) as changes
group by tier, step
