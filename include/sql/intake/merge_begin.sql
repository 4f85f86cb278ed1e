-- Write a merge down, with both customers as they were and what the kept one will get from the other; returns merge_id.
insert into customer_merges (kept_id, merged_id, actor, reason, before, merged_at)
select :kept_id, :merged_id, :actor, :reason,
       jsonb_build_object('kept', to_jsonb(k), 'merged', to_jsonb(m), 'filled', cast(:filled as jsonb)), :now
from customers k
cross join customers m
where k.customer_id = :kept_id and m.customer_id = :merged_id
returning merge_id
