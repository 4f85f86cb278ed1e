-- Let go of requests that were understood and came in before :before, :most at once.
delete from inbox
where inbox_id in (
    select inbox_id from inbox where received_at < :before and interpreted_at is not null order by inbox_id limit :most)
