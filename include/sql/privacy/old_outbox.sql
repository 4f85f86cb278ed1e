-- Let go of messages that the outbox took before :before, :most at once.
delete from outbox
where outbox_id in (select outbox_id from outbox where accepted_at < :before order by outbox_id limit :most)
