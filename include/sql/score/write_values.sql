-- Keep the predictions as those of this instant.
insert into customer_values (customer_id, as_of, frequency, first_on, last_on, currency, spend_days, mean_spend, share,
                             p_alive, purchases, spend, value)
select customer_id, :as_of, frequency, first_on, last_on, currency, spend_days, mean_spend, share,
       p_alive, purchases, spend, value
from predictions
