-- The batches of one shard that are not finished, in order.
select batch_id from batches
where cohort_id = :cohort_id and step = :step and channel = :channel and wave = :wave
  and state in ('ready', 'sending', 'unknown') and ordinal % :of = :shard
order by ordinal
