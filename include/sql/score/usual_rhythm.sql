-- Everybody's interval between purchases, from the table rhythms: the median of the customers' medians, so that one who buys
-- daily counts as much as one who buys twice a year; and of how many customers.
select count(*) as customers, percentile_cont(0.5) within group (order by own_days) as days
from rhythms
where intervals > 0
