-- How many customers have a score of churn, and for how many each indicator has data.
select count(score) as customers, count(overdue) as overdue, count(no_login) as no_login, count(no_response) as no_response,
       count(complaints) as complaints, count(undone) as undone
from churn_scores
