-- The merged customer as it was, known anew from now on. If its id came in again in the meantime, the newer row stays.
insert into customers
select restored.*
from customer_merges m
cross join jsonb_populate_record(
    null::customers, m.before -> 'merged' || jsonb_build_object('recorded_at', cast(:now as timestamptz))) as restored
where m.merge_id = :merge_id
on conflict (customer_id) do nothing
