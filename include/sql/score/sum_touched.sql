-- The sums as of :as_of of the customers in scratch_touched, from scratch_orders and scratch_activity, in the table
-- scratch_sums; what was not worked out is taken from customer_sums. is_customer: is one, as of then.
create unlogged table scratch_sums as
select t.customer_id,
       -- Looked up one by one, and of few.
       case when p.customer_id is not null and not t.is_unsure then true
            else coalesce((
                select true from customers
                where customer_id = t.customer_id and recorded_at <= :known_at
                  and (occurred_at <= :as_of
                       or exists (select from customer_history h
                                  where h.customer_id = customers.customer_id and h.occurred_at <= :as_of))
                limit 1), (
                select true from customer_history c
                where customer_id = t.customer_id and recorded_at <= :known_at and replaced_at > :known_at
                  and (occurred_at <= :as_of
                       or exists (select from customer_history h
                                  where h.customer_id = c.customer_id and h.occurred_at <= :as_of
                                    and h.replaced_at <= c.recorded_at))
                limit 1), false)
       end as is_customer,
       case when t.by_orders then o.first_order_at else p.first_order_at end as first_order_at,
       case when t.by_orders then o.last_order_at else p.last_order_at end as last_order_at,
       cast(coalesce(case when t.by_orders then o.orders else p.orders end, 0) as integer) as orders,
       coalesce(case when t.by_orders then cast(o.units as numeric) / 10000 else p.amount end, 0) as amount,
       cast(coalesce(case when t.by_orders then o.orders_before else p.orders_before end, 0) as integer) as orders_before,
       coalesce(case when t.by_orders then cast(o.units_before as numeric) / 10000
                     else p.amount_before end, 0) as amount_before,
       cast(coalesce(case when t.by_orders then o.returns else p.returns end, 0) as integer) as returns,
       cast(coalesce(case when t.by_orders then o.unpriced_orders
                          else p.unpriced_orders end, 0) as integer) as unpriced_orders,
       cast(coalesce(case when t.by_activity then a.logins else p.logins end, 0) as integer) as logins,
       cast(coalesce(case when t.by_activity then a.views else p.views end, 0) as integer) as views,
       cast(coalesce(case when t.by_activity then a.carts else p.carts end, 0) as integer) as carts,
       cast(coalesce(case when t.by_activity then a.participations
                          else p.participations end, 0) as integer) as participations,
       cast(coalesce(case when t.by_activity then a.community else p.community end, 0) as integer) as community,
       case when t.by_activity then a.last_login_at else p.last_login_at end as last_login_at
from scratch_touched t
left join scratch_orders o using (customer_id)
left join scratch_activity a using (customer_id)
left join customer_sums p using (customer_id)
