-- How many codes of a pool can be dealt: those that are good beyond :least_until.
select count(*) from pool_codes where pool = :pool and (valid_until is null or valid_until > :least_until)
