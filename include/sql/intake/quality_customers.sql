-- The customers of one source as counts, all of them and the fresh ones (learned since :since; null: none): how many
-- there are, have no usable address, tell their year of birth, and tell an impossible one.
select count(*) as customers, count(*) filter (where is_fresh) as fresh_customers,
       count(*) filter (where is_unreachable) as unreachable,
       count(*) filter (where is_unreachable and is_fresh) as fresh_unreachable,
       count(birth_year) as dated, count(birth_year) filter (where is_fresh) as fresh_dated,
       count(*) filter (where birth_year not between 1900 and :this_year) as impossible,
       count(*) filter (where birth_year not between 1900 and :this_year and is_fresh) as fresh_impossible
from (
    select coalesce(recorded_at >= cast(:since as timestamptz), false) as is_fresh, birth_year,
           phone is null and as_of.usable_email(email) is null as is_unreachable
    from customers
    where source = :source
) as of_source
