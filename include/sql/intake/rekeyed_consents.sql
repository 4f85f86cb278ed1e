-- The permissions that came in for a merged customer: the id the source named, and the permission's.
select distinct s.named_id, k.consent_id::text
from staged_consents s
join consents k on k.customer_id = s.customer_id and k.channel = s.channel and k.purpose = s.purpose
               and k.is_granted = s.is_granted and k.source = :source
               and k.occurred_at = coalesce(s.occurred_at, :now)
where s.named_id is not null
