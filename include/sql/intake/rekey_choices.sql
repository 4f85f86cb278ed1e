-- Staged choices of customers who were merged go to the id they go on under; named_id keeps the one the source said.
update staged_choices s
set named_id = s.customer_id, customer_id = a.kept_id
from unnest(cast(:merged as text[]), cast(:kept as text[])) as a (merged_id, kept_id)
where s.customer_id = a.merged_id
