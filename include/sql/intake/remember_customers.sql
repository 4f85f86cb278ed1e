-- What a load of history says about new customers before their last state: it was so from its own time until the next one.
-- Customers that were known before keep the history that is written of them.
with told as (
    select *, row(name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month, locale,
                  timezone, country, derived, attributes, is_gone)
              is distinct from
              lag(row(name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month, locale,
                      timezone, country, derived, attributes, is_gone)) over by_time as is_start
    from staged_customers
    window by_time as (partition by customer_id order by occurred_at nulls first, row_line)
),
states as (
    select *, lead(occurred_at) over (partition by customer_id order by occurred_at nulls first, row_line) as until
    from told
    where is_start
)
insert into customer_history (customer_id, name, email, phone, birth_calendar, birth_year, birth_month, birth_day,
                              birth_leap_month, locale, timezone, country, attributes, derived, source,
                              occurred_at, recorded_at, replaced_at)
select s.customer_id, s.name, s.email, s.phone, s.birth_calendar, s.birth_year, s.birth_month, s.birth_day,
       coalesce(s.birth_leap_month, false), s.locale, s.timezone, s.country,
       jsonb_strip_nulls(coalesce(s.attributes, '{}')), coalesce(s.derived, '{}'), :source, s.occurred_at, s.occurred_at,
       s.until
from states s
join incoming_customers i using (customer_id)
where i.is_new and not s.is_gone and s.until > s.occurred_at and s.until <= :now
on conflict (customer_id, replaced_at) do nothing
