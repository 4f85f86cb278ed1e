-- How many messages the outbox took so far.
select count(*) from outbox
