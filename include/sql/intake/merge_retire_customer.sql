-- The merged customer's row goes; what was known until now stays readable. A row recorded at this very moment or later
-- has no period of its own and leaves no history, as in the trigger that keeps it.
with gone as (
    delete from customers where customer_id = :merged_id returning *
)
insert into customer_history (customer_id, name, email, phone, birth_calendar, birth_year, birth_month, birth_day,
                              birth_leap_month, locale, timezone, country, attributes, derived, source, occurred_at,
                              recorded_at, replaced_at)
select customer_id, name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month, locale,
       timezone, country, attributes, derived, source, occurred_at, recorded_at, :now
from gone
where recorded_at < :now
on conflict (customer_id, replaced_at) do nothing
