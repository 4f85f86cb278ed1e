-- The batches of a cohort that need a person: in doubt, or failed with the last error; messages by step and channel.
select step, channel, trouble as state, sum(messages)::int as messages, max(error) as error
from batches
cross join lateral (values ('unknown', in_doubt), ('failed', case when state = 'failed' then size else 0 end))
    as found (trouble, messages)
where cohort_id = :cohort_id and messages > 0
group by step, channel, trouble
order by step, channel, trouble
