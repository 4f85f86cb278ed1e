-- The provider works again.
update provider_accounts
set failures = 0, openings = 0, open_until = null, error = null
where account = :account
