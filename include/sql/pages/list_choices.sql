-- A customer's latest choice on each subject.
select distinct on (subject) subject, is_granted
from choices
where customer_id = :customer_id
order by subject, occurred_at desc, choice_id desc
