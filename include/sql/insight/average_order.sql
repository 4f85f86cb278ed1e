-- What an order of these customers was worth on average in the year before, by currency; the commonest currency first.
select i.currency, round(sum(i.amount) / count(distinct i.order_id), 2) as average, count(distinct i.order_id) as orders
from as_of.order_items i
where i.customer_id in (select customer_id from enrollments where cohort_id = :cohort_id)
  and i.occurred_at >= as_of.moment() - interval '365 days'
group by i.currency
order by orders desc
