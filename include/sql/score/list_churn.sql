-- A customer's changes of state until :as_of, the first one first.
select since, state, previous, score, overdue, no_login, no_response, complaints, undone
from churn
where customer_id = :customer_id and since <= :as_of
order by since
