-- Of the newest :most events those learned since :since (null: all of them): how many there are, are later than :now, and
-- are of a customer who is not known. Ids rise in the order of the loads.
select count(*) as events, count(*) filter (where e.occurred_at > :now) as future,
       count(*) filter (where c.customer_id is null) as unknown
from (
    select customer_id, occurred_at, recorded_at from events order by event_id desc limit :most
) as e
left join customers c using (customer_id)
where cast(:since as timestamptz) is null or e.recorded_at >= :since
