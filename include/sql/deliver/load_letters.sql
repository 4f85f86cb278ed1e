-- What these messages need to be written. Content is governed by the decision instant that as_of is set to: names are
-- those known when the step was due; for nearly everybody that is the name they have now. :batch_ids are the messages' batches: found by
-- them, no month's part is searched a thousand times for nothing.
with present as materialized (select as_of.moment() as moment, as_of.known() as known)
select m.message_id, m.channel, m.address, m.locale, m.template, cast(m.facts as text) as facts, e.customer_id,
       case when c.occurred_at <= t.moment and c.recorded_at <= t.known then c.name
            else (select a.name from as_of.customers a where a.customer_id = e.customer_id limit 1) end as name,
       k.code as coupon_code,
       k.valid_until as coupon_valid_until, k.kind as coupon_kind, k.value as coupon_value, k.minimum as coupon_minimum,
       k.currency as coupon_currency, cast(k.gift as text) as coupon_gift
from messages m
join enrollments e using (enrollment_id)
cross join present t
left join customers c on c.customer_id = e.customer_id
left join coupons k on k.coupon_id = m.coupon_id
where m.batch_id = any(cast(:batch_ids as bigint[])) and m.message_id = any(cast(:ids as bigint[]))
order by m.message_id
