-- How many customers of one source were born on each day of the year, all of them and the fresh ones (learned since
-- :since; null: none).
select birth_calendar as calendar, birth_month as month, birth_day as day, count(*) as customers,
       count(*) filter (where recorded_at >= cast(:since as timestamptz)) as fresh_customers
from customers
where source = :source and birth_month is not null
group by birth_calendar, birth_month, birth_day
