-- The batches of one shard that have something to hand over, in order. Failed ones are among them: whoever runs the task
-- again has mended what they failed of.
select batch_id from batches
where cohort_id = :cohort_id and step = :step and channel = :channel and wave = :wave
  and state in ('ready', 'sending', 'failed') and ordinal % :of = :shard
order by ordinal
