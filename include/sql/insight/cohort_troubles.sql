-- The batches of a cohort that need a person: in doubt, or failed with the last error; messages by step and channel.
select step, channel, state, sum(size)::int as messages, max(error) as error
from batches
where cohort_id = :cohort_id and state in ('unknown', 'failed')
group by step, channel, state
order by step, channel, state
