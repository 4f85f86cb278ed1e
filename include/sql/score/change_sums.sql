-- Write down the sums of scratch_sums that differ, of those who are customers. Levels and tiers come after.
insert into customer_sums (customer_id, first_order_at, last_order_at, orders, amount, orders_before, amount_before, returns,
                           unpriced_orders, logins, views, carts, participations, community, last_login_at, levels)
select customer_id, first_order_at, last_order_at, orders, amount, orders_before, amount_before, returns, unpriced_orders,
       logins, views, carts, participations, community, last_login_at, 0
from scratch_sums s
where is_customer
  and not exists (
      select from customer_sums p
      where p.customer_id = s.customer_id
        and (p.first_order_at, p.last_order_at, p.orders, p.amount, p.orders_before, p.amount_before, p.returns,
             p.unpriced_orders, p.logins, p.views, p.carts, p.participations, p.community, p.last_login_at)
            is not distinct from
            (s.first_order_at, s.last_order_at, s.orders, s.amount, s.orders_before, s.amount_before, s.returns,
             s.unpriced_orders, s.logins, s.views, s.carts, s.participations, s.community, s.last_login_at))
on conflict (customer_id) do update
set first_order_at = excluded.first_order_at, last_order_at = excluded.last_order_at, orders = excluded.orders,
    amount = excluded.amount, orders_before = excluded.orders_before, amount_before = excluded.amount_before,
    returns = excluded.returns, unpriced_orders = excluded.unpriced_orders, logins = excluded.logins,
    views = excluded.views, carts = excluded.carts, participations = excluded.participations,
    community = excluded.community, last_login_at = excluded.last_login_at
