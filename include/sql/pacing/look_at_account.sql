-- How an account with a provider stands, in seconds from now: asked to wait, circuit open, rate taken; what of the day's
-- budget is used; whether a stop stands for the journey.
select extract(epoch from blocked_until - at)::float as blocked_s, extract(epoch from open_until - at)::float as open_s,
       extract(epoch from next_at - at)::float as taken_s, failures, openings, error,
       case when used_on = cast(at at time zone 'UTC' as date) then used else 0 end as used,
       extract(epoch from date_trunc('day', at at time zone 'UTC') + interval '1 day' - (at at time zone 'UTC'))::float as day_s,
       exists (select from stops where lifted_at is null and (journey is null or journey = :journey)) as is_stopped
from provider_accounts, (select clock_timestamp() as at) as present
where account = :account
