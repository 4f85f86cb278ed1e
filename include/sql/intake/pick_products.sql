-- The staged products, one row each (the last one counts), beside what is known of them: the temporary table
-- incoming_products. Only mapped columns are taken over.
create temporary table incoming_products on commit drop as
with last as (
    select distinct on (product_id) * from staged_products order by product_id, row_line desc
),
wanted as (
    select s.product_id, s.is_gone,
           case when 'name' = any(m.mapped) then s.name else p.name end as name,
           case when 'category' = any(m.mapped) then s.category else p.category end as category,
           case when 'price' = any(m.mapped) then s.price else p.price end as price,
           case when 'price' = any(m.mapped) then s.currency else p.currency end as currency,
           (coalesce(p.attributes, '{}') - cast(:free as text[])) || jsonb_strip_nulls(coalesce(s.attributes, '{}'))
               as attributes,
           coalesce(s.occurred_at, p.occurred_at, :now) as occurred_at, p.product_id is null as is_new,
           p.name as old_name, p.category as old_category, p.price as old_price, p.currency as old_currency,
           p.attributes as old_attributes
    from last s
    cross join (select cast(:mapped as text[]) as mapped) as m
    left join products p using (product_id)
)
select product_id, name, category, price, currency, attributes, occurred_at, is_gone, is_new,
       not is_new and (name, category, price, currency, attributes)
                      is distinct from (old_name, old_category, old_price, old_currency, old_attributes) as is_changed,
       case when :is_history then least(occurred_at, :now) else :now end as recorded_at
from wanted
