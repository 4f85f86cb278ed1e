-- Append the changes of stratum or of its basis: who exceeds a cut is above it; who was above stays so down to the looser
-- one (:kept), unless value and past spending took each other's place. Who has no value any more has no stratum.
insert into strata (customer_id, since, stratum, previous, basis, value)
select customer_id, :as_of, stratum, previous, basis, value
from (
    select customer_id, l.stratum as previous, l.basis as old_basis, e.basis, e.value,
           case when e.value is null then null
                when l.stratum is null or (l.basis = 'past_year') <> (e.basis = 'past_year') or e.plain <= l.stratum then e.plain
                else greatest(l.stratum, e.loose) end as stratum
    from (
        select customer_id, value, basis,
               5 - (select count(*) from unnest(cast(:cuts as float8[])) as cut where value > cut) as plain,
               5 - (select count(*) from unnest(cast(:kept as float8[])) as cut where value > cut) as loose
        from expected
    ) as e
    full join (
        select distinct on (customer_id) customer_id, stratum, basis from strata order by customer_id desc, since desc
    ) as l using (customer_id)
) as judged
where stratum is distinct from previous or basis is distinct from old_basis
