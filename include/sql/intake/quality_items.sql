-- Of the order lines learned since :since (null: of all) how many there are, and how many of an order that is not known.
-- Lines do not say their source. A large load is judged by a sample of :percent % of the table's pages.
select count(*) as items, count(*) filter (where o.order_id is null) as unknown
from order_items i tablesample system (:percent) repeatable (1)
left join orders o using (order_id)
where cast(:since as timestamptz) is null or i.recorded_at >= :since
