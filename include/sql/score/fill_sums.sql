-- Everybody of scratch_judged, into the emptied table of sums.
insert into customer_sums (customer_id, first_order_at, last_order_at, orders, amount, orders_before, amount_before, returns,
                           unpriced_orders, logins, views, carts, participations, community, last_login_at,
                           levels, six, shares)
select customer_id, first_order_at, last_order_at, orders, amount, orders_before, amount_before, returns, unpriced_orders,
       logins, views, carts, participations, community, last_login_at, new_levels, new_six, shares
from scratch_judged
order by customer_id
