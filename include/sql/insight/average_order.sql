-- What an order of these customers was worth on average in the year before, by currency; the commonest currency first.
-- An order is worth its own total or, where the source gives none, what its lines add up to.
select worth.currency, round(avg(worth.amount), 2) as average, count(*) as orders
from (
    select o.order_id, coalesce(o.currency, lines.currency) as currency, coalesce(o.amount, lines.amount) as amount
    from as_of.orders o
    left join lateral (
        select i.currency, sum(i.amount) as amount from as_of.order_items i
        where i.order_id = o.order_id and o.amount is null
        group by i.currency
    ) as lines on true
    where o.customer_id in (select customer_id from enrollments where cohort_id = :cohort_id)
      and o.occurred_at >= as_of.moment() - interval '365 days'
) as worth
where worth.amount is not null
group by worth.currency
order by orders desc
