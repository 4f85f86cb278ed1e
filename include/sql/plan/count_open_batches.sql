-- How many batches of a step are still to be delivered in each wave (failed ones, too: whoever asks has mended the cause), on the channel that has most of them.
select wave, max(batches) as most
from (
    select wave, channel, count(*) as batches
    from batches
    where cohort_id = :cohort_id and step = :step and state in ('ready', 'sending', 'unknown', 'failed')
    group by wave, channel
) as by_channel
group by wave
order by wave
