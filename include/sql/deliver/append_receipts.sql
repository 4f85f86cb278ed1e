-- Append the provider's answers, once a message; coupons of accepted messages are issued, of refused ones given back.
with receipts as (
    select * from jsonb_to_recordset(cast(:receipts as jsonb))
        as receipt (message_id bigint, kind text, provider_id text, reason text)
),
appended as (
    insert into outcomes (message_id, kind, reason, provider, provider_id, occurred_at, recorded_at)
    select message_id, kind, reason, :provider, provider_id, :now, :now from receipts order by message_id
    on conflict (message_id) where kind in ('accepted', 'withheld', 'refused') do nothing
    returning message_id, kind
)
update coupons
set state = case when a.kind = 'accepted' then 'issued' else 'given_back' end, state_at = :now
from appended a
join messages m using (message_id)
where coupons.coupon_id = m.coupon_id and coupons.step = m.step and coupons.state = 'reserved'
