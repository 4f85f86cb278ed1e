-- Take this one request, if it still waits.
select inbox_id, source, body, message_id, received_at, events is not null as is_again
from inbox
where inbox_id = :inbox_id and interpreted_at is null
for update skip locked
