-- What these messages need to be written. Content is governed by the decision instant that as_of is set to: names are
-- those known when the step was due.
select m.message_id, m.channel, m.address, m.locale, e.customer_id, c.name, k.code as coupon_code,
       k.value as coupon_value, k.valid_until as coupon_valid_until
from messages m
join enrollments e using (enrollment_id)
left join lateral (select c.name from as_of.customers c where c.customer_id = e.customer_id limit 1) as c on true
left join coupons k on k.coupon_id = m.coupon_id
where m.message_id = any(cast(:ids as bigint[]))
order by m.message_id
