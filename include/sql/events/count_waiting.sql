-- How many requests wait to be understood, how many of them failed before, and since when the oldest has waited.
select count(*), count(*) filter (where attempts > 0), min(received_at)
from inbox
where interpreted_at is null
