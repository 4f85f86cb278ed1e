-- What Gamma-Gamma is fitted to: of every customer of a currency with repeat purchases, their number and mean amount.
select currency, spend_days, mean_spend
from purchase_sums
where mean_spend is not null
order by currency
