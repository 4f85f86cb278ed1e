-- Grant consent to marketing on these channels, with the words agreed to; where it stands nothing is added.
insert into consents (customer_id, channel, purpose, is_granted, source, wording, occurred_at, recorded_at)
select :customer_id, way.channel, 'marketing', true, 'page', way.wording, :now, :now
from unnest(cast(:channels as text[]), cast(:wordings as text[])) as way (channel, wording)
where not coalesce((
    select k.is_granted from consents k
    where k.customer_id = :customer_id and k.channel = way.channel and k.purpose = 'marketing'
    order by k.occurred_at desc, k.consent_id desc limit 1), false)
returning customer_id, channel
