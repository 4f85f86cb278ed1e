-- Staged rows about customers who were merged are left aside: the id they go on under has a record of its own.
delete from staged_customers s
using unnest(cast(:merged as text[])) as a (merged_id)
where s.customer_id = a.merged_id
