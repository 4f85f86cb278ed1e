-- Give what belongs to one customer to another, and remember each row's key so that it can be given back. Returns
-- table_name, rows. recorded_at stays as it is: what was known when has not changed, only whose it is.
with moved_orders as (
    update orders set customer_id = :kept_id where customer_id = :merged_id
    returning order_id
),
moved_order_history as (
    update order_history set customer_id = :kept_id where customer_id = :merged_id
    returning order_id, replaced_at
),
moved_events as (
    update events set customer_id = :kept_id where customer_id = :merged_id
    returning event_id
),
moved_consents as (
    update consents set customer_id = :kept_id where customer_id = :merged_id
    returning consent_id
),
moved_choices as (
    update choices set customer_id = :kept_id where customer_id = :merged_id
    returning choice_id
),
moved_coupons as (
    update coupons set customer_id = :kept_id where customer_id = :merged_id
    returning coupon_id
),
moved_refusals as (
    -- Where both were refused for the same occurrence and reason, one note says it.
    update entry_refusals r set customer_id = :kept_id
    where r.customer_id = :merged_id
      and not exists (
          select from entry_refusals k
          where k.customer_id = :kept_id and k.mode = r.mode and k.journey = r.journey
            and k.occurrence = r.occurrence and k.reason = r.reason)
    returning r.refusal_id
),
moved_enrollments as (
    -- No journey carries one person twice: where the kept customer is or was in it, this enrollment stays and ends.
    update enrollments e set customer_id = :kept_id
    where e.customer_id = :merged_id
      and not exists (
          select from enrollments k
          where k.customer_id = :kept_id and k.mode = e.mode and k.journey = e.journey)
    returning e.enrollment_id
),
moved (table_name, row_key) as (
    select 'orders', order_id from moved_orders
    union all
    -- Microseconds since 1970: spelled alike whatever the session's time zone is.
    select 'order_history', order_id || ' ' || extract(epoch from replaced_at) from moved_order_history
    union all
    select 'events', event_id::text from moved_events
    union all
    select 'consents', consent_id::text from moved_consents
    union all
    select 'choices', choice_id::text from moved_choices
    union all
    select 'coupons', coupon_id::text from moved_coupons
    union all
    select 'entry_refusals', refusal_id::text from moved_refusals
    union all
    select 'enrollments', enrollment_id::text from moved_enrollments
),
remembered as (
    insert into customer_merge_rows (merge_id, table_name, row_key)
    select :merge_id, table_name, row_key from moved
)
select table_name, count(*) as rows from moved group by table_name order by table_name
