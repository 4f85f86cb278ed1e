-- A customer's points of value as they were written until :as_of, the first ones first.
select since, points, purchases, referrals, advocacy, answers, participation, surveys, suggestions
from customer_points
where customer_id = :customer_id and since <= :as_of
order by since
