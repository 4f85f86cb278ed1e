-- Take up to :most requests that wait to be understood, oldest first and about :bytes of them, held until the transaction
-- ends. What somebody else holds is theirs.
with waiting as (
    select inbox_id, octet_length(body) as size
    from inbox
    where interpreted_at is null and (retry_at is null or retry_at <= :now)
    order by inbox_id
    limit :most
),
fitting as (
    select inbox_id, sum(size) over (order by inbox_id) - size as before from waiting
)
select i.inbox_id, i.source, i.body, i.message_id, i.received_at, i.events is not null as is_again
from inbox i
join fitting f using (inbox_id)
where f.before < :bytes and i.interpreted_at is null
order by i.inbox_id
for update of i skip locked
