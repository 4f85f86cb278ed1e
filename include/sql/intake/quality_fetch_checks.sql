-- The checks of the loads :import_ids, or (null) of the latest load of each source and mapping that has any.
select c.import_id, i.source, i.name, c."check", c.verdict, c.found, c."limit", c.detail, c.checked_at
from quality_checks c
join imports i using (import_id)
where case when cast(:import_ids as bigint[]) is not null then c.import_id = any(:import_ids)
           else c.import_id in (
               select max(q.import_id) from quality_checks q join imports k using (import_id)
               group by k.source, k.mapping)
      end
order by i.source, c.import_id, c.check_id
