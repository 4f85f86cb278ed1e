-- For each mapping of a source the newest verdict of a check since :placed_at that judged anything.
select distinct on (i.mapping) i.mapping, c.verdict
from quality_checks c
join imports i using (import_id)
where i.source = :source and c."check" = :check and c.verdict <> 'too_few' and c.checked_at >= :placed_at
order by i.mapping, c.import_id desc
