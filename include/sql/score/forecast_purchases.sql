-- The expected purchases of everybody in predictions, as forecasts.
insert into forecasts (customer_id, score, expected)
select customer_id, purchases, purchases from predictions
