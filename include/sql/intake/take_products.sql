-- Take over what came in: new products and changed ones; those that are gone at their source stay, people bought them.
-- Returns the counts: new, changed, same, repeated, older, gone.
with changed as (
    update products p
    set name = i.name, category = i.category, price = i.price, currency = i.currency, attributes = i.attributes,
        source = :source, occurred_at = i.occurred_at
    from incoming_products i
    where i.product_id = p.product_id and i.is_changed and not i.is_gone
    returning 1
),
added as (
    insert into products (product_id, name, category, price, currency, attributes, source, occurred_at, recorded_at)
    select product_id, name, category, price, currency, attributes, :source, occurred_at, recorded_at
    from incoming_products
    where is_new and not is_gone
    order by product_id
    returning 1
)
select (select count(*) from added) as new, (select count(*) from changed) as changed, 0 as gone, 0 as older,
       count(*) - (select count(*) from added) - (select count(*) from changed) as same,
       (select count(*) from staged_products) - count(*) as repeated
from incoming_products
