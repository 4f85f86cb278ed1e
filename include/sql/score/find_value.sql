-- What is expected of one customer in the next 12 months, as of the moment looked at, beside the model that says so.
select v.frequency, v.first_on, v.last_on, v.p_alive, v.purchases, v.currency, v.spend, v.value, v.computed_at,
       m.as_of as fitted_at, m.r, m.alpha, m.a, m.b
from as_of.customer_values v
join purchase_models m on m.model_id = v.purchase_model_id
where v.customer_id = :customer_id
