-- How many customers of one source have an address that another customer of any source has, too; of all and of the fresh
-- ones (learned since :since; null: none). People merged into another have no row, so they share nothing.
with shared_emails as (
    select lower(email) as email from customers where email is not null group by 1 having count(*) > 1
),
shared_phones as (
    select phone from customers where phone is not null group by 1 having count(*) > 1
)
select count(*) as customers, count(*) filter (where is_fresh) as fresh_customers,
       count(*) filter (where is_shared) as sharing,
       count(*) filter (where is_shared and is_fresh) as fresh_sharing
from (
    select coalesce(c.recorded_at >= cast(:since as timestamptz), false) as is_fresh,
           e.email is not null or p.phone is not null as is_shared
    from customers c
    left join shared_emails e on e.email = lower(c.email)
    left join shared_phones p on p.phone = c.phone
    where c.source = :source
) as of_source
