-- Withdraw consent to marketing on these channels, for the customer and for whoever else has the same address there: who
-- reads it asked for quiet. Where it is withdrawn already nothing is added. Returns customer_id, channel of what changed.
with meant as (
    select cast(:customer_id as text) as customer_id, way.channel
    from unnest(cast(:channels as text[])) as way (channel)
    union
    select c.customer_id, 'email'
    from customers c
    where 'email' = any(cast(:channels as text[])) and c.email is not null and lower(c.email) = any(cast(:emails as text[]))
    union
    select c.customer_id, way.channel
    from customers c
    cross join unnest(cast(:channels as text[])) as way (channel)
    where way.channel in ('sms', 'whatsapp') and c.phone is not null and c.phone = any(cast(:phones as text[]))
)
insert into consents (customer_id, channel, purpose, is_granted, source, wording, occurred_at, recorded_at)
select m.customer_id, m.channel, 'marketing', false, :source, :wording, :now, :now
from meant m
where coalesce((
    select k.is_granted from consents k
    where k.customer_id = m.customer_id and k.channel = m.channel and k.purpose = 'marketing'
    order by k.occurred_at desc, k.consent_id desc limit 1), true)
returning customer_id, channel
