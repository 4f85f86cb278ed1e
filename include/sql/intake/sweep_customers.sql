-- Customers of this source that its complete list (present_customers) no longer names leave; their last state is kept as
-- history. Returns how many are missing, and how many left (none if more than :most are missing).
with missing as (
    select c.customer_id from customers c
    where c.source = :source and not exists (select from present_customers p where p.customer_id = c.customer_id)
),
gone as (
    delete from customers c using missing m
    where c.customer_id = m.customer_id and (select count(*) from missing) <= :most
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
)
select (select count(*) from missing) as missing, (select count(*) from gone) as gone
