-- Failures in a row at a provider; from :limit on the circuit opens, each time for twice as long, :longest seconds at most.
-- What many workers hear of the same outage opens it once: while it is open, only who tries it again (:is_trial) counts.
-- Returns how long it is open, null while it is closed.
update provider_accounts
set failures = failures + :failures, error = :error,
    openings = openings + case when opens then 1 else 0 end,
    open_until = case when opens
                      then clock_timestamp() + make_interval(secs => least(:longest, :shortest * 2 ^ least(openings, 20)))
                      else open_until end
from (
    select failures + :failures >= :limit
           and (:is_trial or coalesce(open_until <= clock_timestamp(), true)) as opens
    from provider_accounts where account = :account for update
) as judged
where account = :account
returning extract(epoch from open_until - clock_timestamp())::float as open_s
