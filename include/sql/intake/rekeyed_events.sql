-- The events that came in for a merged customer: the id the source named, and the event's.
select distinct i.named_id, e.event_id::text
from incoming_events i
join events e on e.source_key = i.full_key
where i.named_id is not null
