-- A request could not be understood: why, and when it is tried again (1, 2, 4, ... 64 minutes later).
update inbox
set attempts = attempts + 1, error = :error,
    retry_at = cast(:now as timestamptz) + least(power(2, attempts), 64) * interval '1 minute'
where inbox_id = :inbox_id and interpreted_at is null
