-- One customer to be summed up anew, in the table scratch_touched.
create unlogged table scratch_touched as
select cast(:customer_id as text) as customer_id, true as by_orders, true as by_activity, true as is_unsure
