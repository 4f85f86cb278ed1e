-- Customers whom the scorecard counts as lost since a moment within the window. The occurrence names that moment. A first
-- state (previous is null) is no change.
select customer_id, 'churned:' || to_char(since at time zone :timezone, 'YYYY-MM-DD"T"HH24:MI') as occurrence
from churn_changes
where state = 'churned' and previous is not null and since > :window_start and since <= :as_of
