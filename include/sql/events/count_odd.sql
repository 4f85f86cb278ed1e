-- Events that became nothing, by source, reason and the sender's word, the newest request of each.
select source, reason, word, count(*) as events, max(inbox_id) as inbox_id, max(recorded_at) as last_at
from odd_events
where recorded_at >= :since
group by source, reason, word
order by events desc, source, reason, word
limit 100
