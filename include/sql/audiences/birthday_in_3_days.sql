-- Customers whose birthday is three days away: found on the day itself or, if we learned of it late, up to the window later.
-- A solar birthday on 29 February is kept on 28 February in other years. A lunar birthday falls in its lunar year: born in
-- a leap month, it is kept in that leap month when the year has one, else in the plain month; day 30 becomes day 29 in a
-- short month. The occurrence names the year that is celebrated, lunar years apart (one solar year can hold two).
with today as (
    select (:as_of at time zone :timezone)::date as last_day,
           (:window_start at time zone :timezone)::date + 1 as first_day
),
solar as (
    select c.customer_id, 'birthday:' || year as occurrence,
           make_date(year, c.birth_month,
               case when c.birth_month = 2 and c.birth_day = 29
                         and not (year % 4 = 0 and (year % 100 <> 0 or year % 400 = 0)) then 28
                    else c.birth_day end) as celebrated_on
    from today
    cross join lateral generate_series(
        extract(year from first_day)::int, extract(year from last_day + 3)::int) as year
    join customers c on c.birth_calendar = 'solar'
    -- 31 April is no day: such a birthday is kept out, not moved
    where c.birth_day <= case when c.birth_month = 2 then 29 when c.birth_month in (4, 6, 9, 11) then 30 else 31 end
),
lunar as (
    select c.customer_id, 'birthday:lunar:' || m.lunar_year as occurrence,
           m.first_day + least(c.birth_day, m.days) - 1 as celebrated_on
    from today
    join lunar_months m on m.first_day between today.first_day - 30 and today.last_day + 3
    join customers c on c.birth_calendar = 'lunar' and c.birth_month = m.month and c.birth_day <= 30
    where case when m.is_leap then c.birth_leap_month
               else not (c.birth_leap_month and exists (
                   select from lunar_months l
                   where l.lunar_year = m.lunar_year and l.month = m.month and l.is_leap)) end
)
select customer_id, occurrence
from (select * from solar union all select * from lunar) as birthdays
cross join today
where celebrated_on - 3 between first_day and last_day
