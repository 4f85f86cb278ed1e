-- The orders that came in for a merged customer: the id the source named, and the order's.
select distinct named_id, order_id from staged_orders where named_id is not null
