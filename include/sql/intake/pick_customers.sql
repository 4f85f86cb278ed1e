-- The staged customers, one row each (the latest state counts), beside what is known of them: the temporary table
-- incoming_customers with the state that should stand, and whether that is new, changed or older than what stands.
-- Only mapped columns are taken over; what we worked out ourselves gives way to what a source says.
create temporary table incoming_customers on commit drop as
with told as (
    -- A customer may be named by many rows (one an order). In the order of their times, each row that says something else
    -- than the one before begins a state; the last state counts, since its first row.
    select *, row(name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month, locale,
                  timezone, country, derived, attributes, is_gone)
              is distinct from
              lag(row(name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month, locale,
                      timezone, country, derived, attributes, is_gone)) over by_time as is_start
    from staged_customers
    window by_time as (partition by customer_id order by occurred_at nulls first, row_line)
),
last as (
    select distinct on (customer_id) * from told
    where is_start
    order by customer_id, occurred_at desc nulls last, row_line desc
),
wanted as (
    select s.customer_id,
           case when 'name' = any(m.mapped) then s.name else c.name end as name,
           case when 'email' = any(m.mapped) then s.email else c.email end as email,
           case when 'phone' = any(m.mapped) then s.phone else c.phone end as phone,
           case when 'birthday' = any(m.mapped) then s.birth_calendar else c.birth_calendar end as birth_calendar,
           case when 'birthday' = any(m.mapped) then s.birth_year else c.birth_year end as birth_year,
           case when 'birthday' = any(m.mapped) then s.birth_month else c.birth_month end as birth_month,
           case when 'birthday' = any(m.mapped) then s.birth_day else c.birth_day end as birth_day,
           coalesce(case when 'birth_leap_month' = any(m.mapped) then s.birth_leap_month else c.birth_leap_month end,
                    false) as birth_leap_month,
           case when 'locale' = any(m.mapped) then s.locale else c.locale end as locale,
           case when s.timezone is not null and not 'timezone' = any(s.derived) then s.timezone
                when c.timezone is not null and not 'timezone' = any(c.derived) then c.timezone
                else coalesce(s.timezone, c.timezone) end as timezone,
           case when s.country is not null and not 'country' = any(s.derived) then s.country
                when c.country is not null and not 'country' = any(c.derived) then c.country
                else coalesce(s.country, c.country) end as country,
           array_remove(array[
               case when (s.country is null or 'country' = any(s.derived))
                         and (c.country is null or 'country' = any(c.derived))
                         and coalesce(s.country, c.country) is not null then 'country' end,
               case when (s.timezone is null or 'timezone' = any(s.derived))
                         and (c.timezone is null or 'timezone' = any(c.derived))
                         and coalesce(s.timezone, c.timezone) is not null then 'timezone' end], null) as derived,
           (coalesce(c.attributes, '{}') - cast(:free as text[])) || jsonb_strip_nulls(coalesce(s.attributes, '{}'))
               as attributes,
           s.is_gone, s.occurred_at as said_at, c.customer_id is null as is_new,
           c.name as old_name, c.email as old_email, c.phone as old_phone, c.birth_calendar as old_calendar,
           c.birth_year as old_year, c.birth_month as old_month, c.birth_day as old_day, c.birth_leap_month as old_leap,
           c.locale as old_locale, c.timezone as old_timezone, c.country as old_country, c.derived as old_derived,
           c.attributes as old_attributes, c.occurred_at as old_at, c.recorded_at as old_recorded
    from last s
    cross join (select cast(:mapped as text[]) as mapped) as m
    left join customers c using (customer_id)
),
judged as (
    select *, not is_new and
              (name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month, locale, timezone,
               country, derived, attributes)
              is distinct from
              (old_name, old_email, old_phone, old_calendar, old_year, old_month, old_day, old_leap, old_locale,
               old_timezone, old_country, old_derived, old_attributes) as is_different
    from wanted
)
select customer_id, name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month, locale,
       timezone, country, derived, attributes, is_gone, is_new,
       is_different and said_at < old_at and not is_gone as is_older,
       case when is_new then false
            when is_different then coalesce(said_at >= old_at, true)
            else coalesce(said_at < old_at, false) end as is_changed,
       case when is_new or is_different then coalesce(said_at, :now) else least(old_at, said_at) end as occurred_at,
       case when is_new or is_different then case when :is_history then least(said_at, :now) else :now end
            when :is_history then least(old_recorded, said_at)
            else old_recorded end as recorded_at
from judged
