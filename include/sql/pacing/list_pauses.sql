-- Accounts with providers to which nothing goes right now, why, and for how many seconds more.
select account, channel, error, greatest(blocked_until, open_until) as until_at,
       extract(epoch from greatest(blocked_until, open_until) - clock_timestamp())::float as wait_s
from provider_accounts
where greatest(blocked_until, open_until) > clock_timestamp()
order by account
