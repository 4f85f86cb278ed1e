-- The newest run that wrote values before an instant, and whether there is one after it.
select as_of, known_at, zone, purchase_model_id, spend_model_ids, discount_rate,
       (select count(*) from value_runs where as_of > :as_of) as later
from value_runs
where as_of < :as_of
order by as_of desc
limit 1
