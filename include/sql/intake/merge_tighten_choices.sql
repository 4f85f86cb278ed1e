-- The stricter choice wins, as merge_tighten_consents has it: where one of the two refused a topic, profiling or data abroad
-- and yet a "yes" would be the latest word once both are one, append a refusal. Run before the choices are re-keyed.
with latest as (
    select distinct on (customer_id, subject) customer_id, subject, is_granted, occurred_at, choice_id
    from choices
    where customer_id in (:kept_id, :merged_id)
    order by customer_id, subject, occurred_at desc, choice_id desc
),
strict as (
    select subject, (array_agg(is_granted order by occurred_at desc, choice_id desc))[1] as is_last_granted
    from latest
    group by subject
    having not bool_and(is_granted)
),
added as (
    insert into choices (customer_id, subject, is_granted, source, occurred_at, recorded_at)
    select :kept_id, subject, false, 'merge', :now, :now
    from strict
    where is_last_granted
    returning choice_id
)
insert into customer_merge_rows (merge_id, table_name, row_key)
select :merge_id, 'choices', 'added:' || choice_id from added
