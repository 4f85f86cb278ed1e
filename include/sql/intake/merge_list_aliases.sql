-- Every id that goes on under another: merged_id, and the kept_id at the end of its chain.
with recursive chain as (
    select merged_id, kept_id from customer_merges where undone_at is null
    union
    select c.merged_id, m.kept_id
    from chain c
    join customer_merges m on m.merged_id = c.kept_id and m.undone_at is null
)
select c.merged_id, c.kept_id
from chain c
where not exists (select from customer_merges m where m.merged_id = c.kept_id and m.undone_at is null)
order by c.merged_id
