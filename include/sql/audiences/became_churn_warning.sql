-- Customers who moved into the tier churn_warning within the window: those who bought well and have gone quiet. The occurrence
-- names the moment of the move. For another tier put its name in place of churn_warning; a first tier (previous is null) is
-- no move.
select customer_id, 'churn_warning:' || to_char(since at time zone :timezone, 'YYYY-MM-DD"T"HH24:MI') as occurrence
from tier_changes
where scheme = 'six' and tier = 'churn_warning' and previous is not null
  and since > :window_start and since <= :as_of
