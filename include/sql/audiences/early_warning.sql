-- Customers who may soon be lost: active until a moment within the window, and since then above the looser threshold, or
-- even the other one. The occurrence names that moment. Whoever comes back from churned to warning is getting better, and
-- not meant.
select customer_id, 'early_warning:' || to_char(since at time zone :timezone, 'YYYY-MM-DD"T"HH24:MI') as occurrence
from churn_changes
where state in ('warning', 'churned') and previous = 'active' and since > :window_start and since <= :as_of
