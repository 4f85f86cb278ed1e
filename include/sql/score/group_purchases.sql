-- The customers of purchase_sums by what BG/NBD asks of them, and how many there are of each.
select frequency, recency, age, count(*) as customers
from purchase_sums
group by frequency, recency, age
