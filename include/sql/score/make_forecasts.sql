-- What a score said of customers at an instant, to be held against what happened: a row a customer. expected, if the score
-- says so, is how many purchases.
create temporary table forecasts (customer_id text primary key, score float8 not null, expected float8) on commit drop
