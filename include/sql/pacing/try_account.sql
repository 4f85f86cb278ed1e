-- After an open circuit's time one worker tries: it gets a row, and the others wait for what comes of it.
update provider_accounts
set open_until = clock_timestamp() + make_interval(secs => :seconds)
where account = :account and open_until <= clock_timestamp()
returning account
