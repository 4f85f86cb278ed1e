-- On which channels, and in which waves, a step has something to deliver.
select distinct channel, wave from batches
where cohort_id = :cohort_id and step = :step and state in ('ready', 'sending', 'unknown', 'failed')
