-- Take over what came in: new lines, corrected ones (a trigger keeps what was), those that are gone at their source (kept
-- as history). Returns the counts: new, changed, same, repeated, older, gone.
with gone as (
    delete from order_items t using incoming_order_items i
    where i.order_id = t.order_id and i.line = t.line and i.is_gone
    returning t.*
),
kept as (
    insert into order_item_history (order_id, line, product_id, category, quantity, amount, currency, coupon_code,
                                    recorded_at, replaced_at)
    select order_id, line, product_id, category, quantity, amount, currency, coupon_code, recorded_at, :now from gone
    on conflict (order_id, line, replaced_at) do nothing
),
changed as (
    update order_items t
    set product_id = i.product_id, category = i.category, quantity = i.quantity, amount = i.amount,
        currency = i.currency, coupon_code = i.coupon_code, recorded_at = i.recorded_at
    from incoming_order_items i
    where i.order_id = t.order_id and i.line = t.line and i.is_changed and not i.is_gone
    returning 1
),
added as (
    insert into order_items (order_id, line, product_id, category, quantity, amount, currency, coupon_code, recorded_at)
    select order_id, line, product_id, category, quantity, amount, currency, coupon_code, recorded_at
    from incoming_order_items
    where is_new and not is_gone
    order by order_id, line
    returning 1
)
select (select count(*) from added) as new, (select count(*) from changed) as changed,
       (select count(*) from gone) as gone, 0 as older,
       count(*) - (select count(*) from added) - (select count(*) from changed) - (select count(*) from gone) as same,
       (select count(*) from staged_order_items) - count(*) as repeated
from incoming_order_items
