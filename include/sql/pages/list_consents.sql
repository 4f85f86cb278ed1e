-- What a customer permits now, per channel that has ever been asked about: is_granted, and whether the address given for the
-- channel is suppressed. The latest word counts.
select way.channel,
       (select k.is_granted from consents k
        where k.customer_id = :customer_id and k.channel = way.channel and k.purpose = 'marketing'
        order by k.occurred_at desc, k.consent_id desc limit 1) as is_granted,
       coalesce((select s.is_suppressed from suppressions s
                 where s.channel = way.channel and s.address = way.address
                 order by s.occurred_at desc, s.suppression_id desc limit 1), false) as is_suppressed
from unnest(cast(:channels as text[]), cast(:addresses as text[])) as way (channel, address)
