-- The stricter consent wins: where one of the two withdrew and yet a permission would be the latest word once both are
-- one, append a withdrawal. Run before the consents are re-keyed. Returns channel, purpose where somebody's permission
-- gave way.
with latest as (
    select distinct on (customer_id, channel, purpose)
           customer_id, channel, purpose, is_granted, occurred_at, consent_id
    from consents
    where customer_id in (:kept_id, :merged_id)
    order by customer_id, channel, purpose, occurred_at desc, consent_id desc
),
strict as (
    select channel, purpose,
           -- Said in the order of as_of.consents: the last of both is what would count.
           (array_agg(is_granted order by occurred_at desc, consent_id desc))[1] as is_last_granted,
           coalesce(bool_and(is_granted) filter (where customer_id = :kept_id), true) as kept_was_free,
           coalesce(bool_or(is_granted), false) as somebody_granted
    from latest
    group by channel, purpose
    having not bool_and(is_granted)
),
added as (
    insert into consents (customer_id, channel, purpose, is_granted, source, occurred_at, recorded_at)
    select :kept_id, channel, purpose, false, 'merge', :now, :now
    from strict
    where is_last_granted
    returning consent_id
),
remembered as (
    insert into customer_merge_rows (merge_id, table_name, row_key)
    select :merge_id, 'consents', 'added:' || consent_id from added
)
select channel, purpose from strict where kept_was_free or somebody_granted order by channel, purpose
