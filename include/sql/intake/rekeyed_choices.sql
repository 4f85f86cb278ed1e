-- The choices that came in for a merged customer: the id the source named, and the choice's.
select distinct s.named_id, k.choice_id::text
from staged_choices s
join choices k on k.customer_id = s.customer_id and k.subject = s.subject
              and k.is_granted = s.is_granted and k.source = :source
              and k.occurred_at = coalesce(s.occurred_at, :now)
where s.named_id is not null
