-- Take over what came in: new customers, changed ones (a trigger keeps what was), those that are gone at their source
-- (their last state is kept as history). Returns the counts: new, changed, same, repeated, older, gone.
with gone as (
    delete from customers c using incoming_customers i
    where i.customer_id = c.customer_id and i.is_gone
    returning c.*
),
kept as (
    insert into customer_history (customer_id, name, email, phone, birth_calendar, birth_year, birth_month, birth_day,
                                  birth_leap_month, locale, timezone, country, attributes, derived, source,
                                  occurred_at, recorded_at, replaced_at)
    select customer_id, name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month, locale,
           timezone, country, attributes, derived, source, occurred_at, recorded_at, :now
    from gone
    on conflict (customer_id, replaced_at) do nothing
),
changed as (
    update customers c
    set name = i.name, email = i.email, phone = i.phone, birth_calendar = i.birth_calendar, birth_year = i.birth_year,
        birth_month = i.birth_month, birth_day = i.birth_day, birth_leap_month = i.birth_leap_month, locale = i.locale,
        timezone = i.timezone, country = i.country, derived = i.derived, attributes = i.attributes, source = :source,
        occurred_at = i.occurred_at, recorded_at = i.recorded_at
    from incoming_customers i
    where i.customer_id = c.customer_id and i.is_changed and not i.is_gone
    returning 1
),
added as (
    insert into customers (customer_id, name, email, phone, birth_calendar, birth_year, birth_month, birth_day,
                           birth_leap_month, locale, timezone, country, derived, attributes, source, occurred_at,
                           recorded_at)
    select customer_id, name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month, locale,
           timezone, country, derived, attributes, :source, occurred_at, recorded_at
    from incoming_customers
    where is_new and not is_gone
    returning 1
)
select (select count(*) from added) as new, (select count(*) from changed) as changed,
       (select count(*) from gone) as gone,
       count(*) filter (where is_older) as older,
       count(*) - (select count(*) from added) - (select count(*) from changed) - (select count(*) from gone)
           - count(*) filter (where is_older) as same,
       (select count(*) from staged_customers) - count(*) as repeated
from incoming_customers
