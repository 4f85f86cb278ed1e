-- Remember rows that came for merged ids and were given to the kept customer, with every merge on the way to it.
with recursive given as (
    select m.merge_id, m.kept_id, wanted.row_key
    from unnest(cast(:merged_ids as text[]), cast(:row_keys as text[])) as wanted (merged_id, row_key)
    join customer_merges m on m.merged_id = wanted.merged_id and m.undone_at is null
    union
    select m.merge_id, m.kept_id, g.row_key
    from given g
    join customer_merges m on m.merged_id = g.kept_id and m.undone_at is null
)
insert into customer_merge_rows (merge_id, table_name, row_key)
select merge_id, :table_name, row_key from given
on conflict do nothing
