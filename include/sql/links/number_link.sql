-- The number of an address that links of messages lead to; one that is new gets the next. Safe to call from anywhere at once.
with known as (
    select link_id from links where url = :url
),
added as (
    insert into links (url)
    select :url where not exists (select from known)
    on conflict (url) do update set url = excluded.url
    returning link_id
)
select link_id from known union all select link_id from added
