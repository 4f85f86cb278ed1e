-- Of one source's orders learned since :since (null: of all) how many there are, and how many of a customer who is not
-- known. Many are judged by a sample of :percent % of the table's pages.
select count(*) as orders, count(*) filter (where c.customer_id is null) as unknown
from orders o tablesample system (:percent) repeatable (1)
left join customers c using (customer_id)
where o.source = :source and (cast(:since as timestamptz) is null or o.recorded_at >= :since)
