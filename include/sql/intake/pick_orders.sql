-- The staged orders, one row each (the last one counts), beside what is known of them: the temporary table
-- incoming_orders, new or changed or neither. Only mapped columns are taken over.
create temporary table incoming_orders on commit drop as
with last as (
    select distinct on (order_id) * from staged_orders order by order_id, row_line desc
),
wanted as (
    select s.order_id, s.customer_id, s.occurred_at, s.is_gone,
           case when 'amount' = any(m.mapped) then s.amount else o.amount end as amount,
           case when 'amount' = any(m.mapped) then s.currency else o.currency end as currency,
           o.order_id is null as is_new, o.customer_id as old_customer, o.occurred_at as old_at, o.amount as old_amount,
           o.currency as old_currency
    from last s
    cross join (select cast(:mapped as text[]) as mapped) as m
    left join orders o using (order_id)
)
select order_id, customer_id, occurred_at, amount, currency, is_gone, is_new,
       not is_new and (customer_id, occurred_at, amount, currency)
                      is distinct from (old_customer, old_at, old_amount, old_currency) as is_changed,
       case when :is_history then least(occurred_at, :now) else :now end as recorded_at
from wanted
