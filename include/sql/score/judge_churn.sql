-- Append the changes of state that churn_scores makes: a threshold is reached, or the state is kept until :dead_band points
-- below it. Who has no score any more has no state. What each indicator adds is kept beside it.
insert into churn (customer_id, since, state, previous, score, overdue, no_login, no_response, complaints, undone)
select customer_id, :as_of, state, previous,
       case when state is not null then score end,
       case when state is not null then 100 * overdue * :overdue_weight / known end,
       case when state is not null then 100 * no_login * :login_weight / known end,
       case when state is not null then 100 * no_response * :response_weight / known end,
       case when state is not null then 100 * complaints * :complaints_weight / known end,
       case when state is not null then 100 * undone * :undone_weight / known end
from (
    select customer_id, s.score, s.overdue, s.no_login, s.no_response, s.complaints, s.undone, s.known, l.state as previous,
           case when s.score is null then null
                when s.score >= :churned or (l.state = 'churned' and s.score >= :churned - :dead_band) then 'churned'
                when s.score >= :warning or (l.state in ('warning', 'churned') and s.score >= :warning - :dead_band)
                    then 'warning'
                else 'active' end as state
    from churn_scores s
    full join (
        select distinct on (customer_id) customer_id, state from churn order by customer_id desc, since desc
    ) as l using (customer_id)
) as judged
where state is distinct from previous
