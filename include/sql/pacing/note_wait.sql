-- The provider asked to wait: no worker sends before.
update provider_accounts
set blocked_until = greatest(blocked_until, clock_timestamp() + make_interval(secs => :seconds)), error = :error
where account = :account
