-- Whose sums may differ from those of the run before, in the table scratch_touched, and whether for orders or for
-- activity; is_unsure: whether they are (still) customers has to be looked up. Facts learned after :since, or that came to
-- pass after :after, or left a window between the two runs. Both begin some hours before the last run, for what was being
-- written down then. Beside the run before: :old_orders_from and :old_activity_from.
create unlogged table scratch_touched as
select customer_id, bool_or(by_orders) as by_orders, bool_or(by_activity) as by_activity,
       bool_or(is_unsure) as is_unsure
from (
    select customer_id, true as by_orders, false as by_activity, false as is_unsure
    from orders where recorded_at > :since and recorded_at <= :known_at and occurred_at <= :as_of
    union all
    select customer_id, true, false, false
    from orders where occurred_at > :after and occurred_at <= :as_of
    union all
    select customer_id, true, false, false
    from orders where occurred_at > :old_orders_from and occurred_at <= :orders_from
    union all
    select customer_id, true, false, false
    from order_history where replaced_at > :since or occurred_at > :old_orders_from
    union all
    -- Of states only those matter that undo an order, or take that back.
    select o.customer_id, true, false, false
    from order_status s
    join orders o using (order_id)
    where (s.recorded_at > :since and s.recorded_at <= :known_at or s.occurred_at > :after and s.occurred_at <= :as_of)
      and (s.status in ('cancelled', 'refunded')
           or exists (select from order_status b
                      where b.order_id = s.order_id and b.status in ('cancelled', 'refunded')))
    union all
    select o.customer_id, true, false, false
    from order_items i
    join orders o using (order_id)
    where i.recorded_at > :since and i.recorded_at <= :known_at and o.amount is null
    union all
    select o.customer_id, true, false, false
    from order_item_history i
    join orders o using (order_id)
    where i.replaced_at > :since and o.amount is null
    union all
    select customer_id, false, true, false
    from events
    where recorded_at > :since and recorded_at <= :known_at
      and occurred_at > :activity_from and occurred_at <= :as_of
      and kind in ('login', 'view', 'cart', 'participation', 'community')
    union all
    select customer_id, false, true, false
    from events
    where occurred_at > :after and occurred_at <= :as_of
      and kind in ('login', 'view', 'cart', 'participation', 'community')
    union all
    select customer_id, false, true, false
    from events
    where occurred_at > :old_activity_from and occurred_at <= :activity_from
      and kind in ('login', 'view', 'cart', 'participation', 'community')
    union all
    select customer_id, true, true, true
    from customers c
    where (recorded_at > :since or occurred_at > :after)
      and not exists (select from customer_sums s where s.customer_id = c.customer_id)
    union all
    select customer_id, true, true, true
    from customer_history where replaced_at > :since
    union all
    -- A merge gives facts to another customer, and tells no fact's clock.
    select party.customer_id, true, true, true
    from customer_merges m
    cross join lateral (values (m.kept_id), (m.merged_id)) as party (customer_id)
    where m.merged_at > :since or m.undone_at > :since
) as touched
group by customer_id
