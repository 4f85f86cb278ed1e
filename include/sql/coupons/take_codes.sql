-- Put staged_codes into the pool, all lines but those.
insert into pool_codes (pool, code, valid_until, added_at)
select :pool, code, valid_until, :now
from staged_codes
where line not in (select unnest(cast(:lines as int[])))
order by line
