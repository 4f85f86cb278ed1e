-- Take :seconds of an account's rate and :cost of its day's budget, and return how long until they begin. No row: the
-- rate is taken for a second ahead, or the budget is used up. Its clock is the database's, which all workers share: this
-- is about the wire, no rule hangs on it.
with present as (select clock_timestamp() as at)
update provider_accounts
set next_at = greatest(next_at, at) + make_interval(secs => :seconds),
    used = case when used_on = cast(at at time zone 'UTC' as date) then used else 0 end + :cost,
    used_on = cast(at at time zone 'UTC' as date)
from present
where account = :account
  and coalesce(next_at, at) <= at + interval '1 second'
  and (cast(:budget as int) is null
       or case when used_on = cast(at at time zone 'UTC' as date) then used else 0 end + :cost <= :budget)
returning extract(epoch from next_at - at)::float - :seconds as wait_s
