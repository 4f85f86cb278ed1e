-- Somebody opened another page of the same message within seconds of these clicks: a scanner follows every link.
update outcomes set is_machine = true
where message_id = :message_id and kind = 'clicked' and link_id is not null and not is_machine and occurred_at >= :since
