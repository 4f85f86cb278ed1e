-- On the channel webhook the address is the customer's id: where that of the merged customer must not be used, neither must
-- the kept one's. Give back by merge_give_back.
with latest as (
    select distinct on (address) address, is_suppressed, reason
    from suppressions
    where channel = 'webhook' and address in (:kept_id, :merged_id)
    order by address, occurred_at desc, suppression_id desc
),
added as (
    insert into suppressions (channel, address, is_suppressed, reason, occurred_at, recorded_at)
    select 'webhook', :kept_id, true, m.reason, :now, :now
    from latest m
    where m.address = :merged_id and m.is_suppressed
      and not exists (select from latest k where k.address = :kept_id and k.is_suppressed)
    returning suppression_id
)
insert into customer_merge_rows (merge_id, table_name, row_key)
select :merge_id, 'suppressions', 'added:' || suppression_id from added
