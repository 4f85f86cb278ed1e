-- Failures in a row at a provider; from :limit on the circuit opens, each time for twice as long, :longest seconds at most.
-- Returns how long it is open, null while it is closed.
update provider_accounts
set failures = failures + :failures, error = :error,
    openings = openings + case when failures + :failures >= :limit then 1 else 0 end,
    open_until = case when failures + :failures >= :limit
                      then clock_timestamp() + make_interval(secs => least(:longest, :shortest * 2 ^ least(openings, 20)))
                      else open_until end
where account = :account
returning extract(epoch from open_until - clock_timestamp())::float as open_s
