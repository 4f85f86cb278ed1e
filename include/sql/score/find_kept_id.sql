-- The id under which a person goes on: the one given, or the end of its chain of merges.
with recursive chain as (
    select cast(:customer_id as text) as customer_id, 0 as place
    union all
    select m.kept_id, chain.place + 1
    from chain
    join customer_merges m on m.merged_id = chain.customer_id and m.undone_at is null
)
select customer_id from chain order by place desc limit 1
