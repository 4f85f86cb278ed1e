-- Where strata begin (and down to where they are kept), from the table expected: of those of whom something is expected the
-- values that :shares of them do not exceed. And what one purchase was taken for.
select percentile_disc(cast(:shares as float8[])) within group (order by value) filter (where value > 0) as cuts,
       max(typical) as typical, count(*) as customers,
       count(*) filter (where basis = 'lifetime_value') as by_value, count(*) filter (where basis = 'purchases') as by_purchases
from expected
