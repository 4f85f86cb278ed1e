-- What the scorecard says, as forecasts to be held against what happened.
insert into forecasts (customer_id, score) select customer_id, score from churn_scores where score is not null
