-- One customer to be summed up anew, in the temporary table scratch_touched.
create temporary table scratch_touched on commit drop as
select cast(:customer_id as text) as customer_id, true as by_orders, true as by_activity
