-- What is expected of each customer of purchase_sums, into the temporary table predictions: P(alive) and the amount of a
-- purchase by their closed forms, the rest from value_factors. A customer of a currency without a model of its amounts, or
-- without any known amount, gets no value: not an amount of another currency, and not 0.
-- share: purchases in other currencies are expected, too, but are no value in this one.
create temporary table predictions on commit drop as
select s.customer_id, s.frequency, s.first_on, s.last_on, s.currency, s.spend_days, s.mean_spend, s.share,
       alive.p_alive, alive.p_alive * f.purchases as purchases, spent.spend,
       alive.p_alive * f.discounted * spent.spend * s.share as value
from purchase_sums s
join value_factors f on f.frequency = s.frequency and f.age = s.age
cross join lateral (
    select as_of.p_alive(s.frequency, s.recency, s.age, :r, :alpha, :a, :b)
) as alive (p_alive)
left join unnest(cast(:currencies as text[]), cast(:p as float8[]), cast(:q as float8[]), cast(:v as float8[]))
    as m (currency, p, q, v) on m.currency = s.currency
cross join lateral (
    select case when s.mean_spend is null then m.p * m.v / (m.q - 1)
                else m.p * (m.v + s.mean_spend * s.spend_days) / (m.p * s.spend_days + m.q - 1) end
) as spent (spend)
