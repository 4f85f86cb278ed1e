-- The part of the forecast that has no closed form in SQL (it needs 2F1), for each pair of frequency and age that occurs.
create temporary table value_factors (
    frequency integer, age integer, purchases float8, discounted float8, primary key (frequency, age)
) on commit drop
