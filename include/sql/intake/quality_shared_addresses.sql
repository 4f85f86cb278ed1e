-- How many customers of one source have an address that another customer of any source has, too; of all and of the fresh
-- ones (learned since :since; null: none). People merged into another have no row, so they share nothing. Addresses are
-- told apart by a hash of 64 bits: of a million texts that takes a fifth of the time, and two alike by chance are not to be expected.
with shared_emails as (
    select hashtextextended(lower(email), 0) as email from customers where email is not null group by 1 having count(*) > 1
),
shared_phones as (
    select hashtextextended(phone, 0) as phone from customers where phone is not null group by 1 having count(*) > 1
)
select count(*) as customers, count(*) filter (where is_fresh) as fresh_customers,
       count(*) filter (where is_shared) as sharing,
       count(*) filter (where is_shared and is_fresh) as fresh_sharing
from (
    select coalesce(c.recorded_at >= cast(:since as timestamptz), false) as is_fresh,
           e.email is not null or p.phone is not null as is_shared
    from customers c
    left join shared_emails e on e.email = hashtextextended(lower(c.email), 0)
    left join shared_phones p on p.phone = hashtextextended(c.phone, 0)
    where c.source = :source
) as of_source
