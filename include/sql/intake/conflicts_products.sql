-- Rows about a product that a later row of the same load contradicts: they are kept among what was left out. Returns how many.
with written as (
    insert into rejected_rows (import_id, line, level, "column", reason, remedy, raw)
    select :import_id, s.row_line, 'cell', null, :reason, :remedy, s.product_id
    from staged_products s
    join incoming_products i using (product_id)
    where not i.is_gone and (
          'name' = any(cast(:mapped as text[])) and s.name is distinct from i.name
       or 'category' = any(cast(:mapped as text[])) and s.category is distinct from i.category
       or 'price' = any(cast(:mapped as text[])) and (s.price, s.currency) is distinct from (i.price, i.currency))
    returning 1
)
select count(*) from written
