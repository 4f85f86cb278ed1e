-- How many batches of a step are still to be delivered, by channel and wave.
select channel, wave, count(*) as batches
from batches
where cohort_id = :cohort_id and step = :step and state in ('ready', 'sending', 'unknown')
group by channel, wave
order by channel, wave
