-- Let go of events that nobody understood and that came in before :before, :most at once.
delete from odd_events
where odd_id in (select odd_id from odd_events where recorded_at < :before order by odd_id limit :most)
