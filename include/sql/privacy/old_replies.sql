-- Let go of replies that came in before :before, :most at once. What they meant is in the consents.
delete from replies
where reply_id in (select reply_id from replies where recorded_at < :before order by reply_id limit :most)
