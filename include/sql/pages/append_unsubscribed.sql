-- A message made its receiver unsubscribe: once a message, by page or by the mailbox's own button (reason).
insert into outcomes (message_id, kind, reason, occurred_at, recorded_at, event_key)
values (:message_id, 'unsubscribed', :source, :now, :now, hashtextextended('unsubscribed', 0))
on conflict do nothing
