-- Where a link of a message leads: url, with the code of the message's coupon, and when the message was planned (null for one
-- that is not kept).
select l.url, k.code, m.planned_at
from links l
left join messages m on m.message_id = :message_id and m.decision = 'send'
left join coupons k on k.coupon_id = m.coupon_id
where l.link_id = :link_id
