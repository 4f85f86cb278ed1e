-- Rows about an order that a later row of the same load contradicts: they are kept among what was left out. Returns how many.
with written as (
    insert into rejected_rows (import_id, line, level, "column", reason, remedy, raw)
    select :import_id, s.row_line, 'cell', null, :reason, :remedy, s.order_id
    from staged_orders s
    join incoming_orders i using (order_id)
    where not i.is_gone and (
          (s.customer_id, s.occurred_at) is distinct from (i.customer_id, i.occurred_at)
       or 'amount' = any(cast(:mapped as text[])) and (s.amount, s.currency) is distinct from (i.amount, i.currency))
    returning 1
)
select count(*) from written
