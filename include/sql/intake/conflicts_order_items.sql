-- Rows about a line of an order that a later row of the same load contradicts: they are kept among what was left out.
-- Returns how many.
with written as (
    insert into rejected_rows (import_id, line, level, "column", reason, remedy, raw)
    select :import_id, s.row_line, 'cell', null, :reason, :remedy, s.order_id || ', line ' || s.line
    from staged_order_items s
    join incoming_order_items i on i.order_id = s.order_id and i.line = s.line
    where not i.is_gone and (
          (s.quantity, s.amount, s.currency) is distinct from (i.quantity, i.amount, i.currency)
       or 'product_id' = any(cast(:mapped as text[])) and s.product_id is distinct from i.product_id)
    returning 1
)
select count(*) from written
