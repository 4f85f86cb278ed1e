-- The last good models as of an instant, as known then: BG/NBD, and Gamma-Gamma of each currency.
(
    select 'purchases' as kind, model_id, as_of, null as currency, zone, log_likelihood, array[r, alpha, a, b] as parameters
    from purchase_models
    where refusal is null and as_of <= :as_of and known_at <= :known_at
    order by as_of desc
    limit 1
)
union all
(
    select distinct on (currency)
           'spends', model_id, as_of, currency, null, log_likelihood, array[p, q, v]
    from spend_models
    where refusal is null and as_of <= :as_of and known_at <= :known_at
    order by currency, as_of desc
)
order by kind, currency
