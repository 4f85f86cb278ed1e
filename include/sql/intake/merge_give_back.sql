-- Undo merge_rekey, merge_tighten_consents, merge_tighten_choices and merge_carry_suppressions: what a merge gave to the
-- kept customer goes back, where it is still the kept customer's; what it added goes. Returns table_name, rows.
with remembered as materialized (
    select table_name, row_key,
           -- An order's own id may look like any number, and be larger than one.
           case when table_name not in ('orders', 'order_history') and row_key not like 'added:%'
                then row_key::bigint end as row_id,
           case when row_key like 'added:%' then substr(row_key, 7)::bigint end as added_id
    from customer_merge_rows
    where merge_id = :merge_id
),
back_orders as (
    update orders set customer_id = :merged_id
    where customer_id = :kept_id and order_id in (select row_key from remembered where table_name = 'orders')
    returning order_id
),
back_order_history as (
    -- Together with what was corrected since: those states are of the same orders.
    update order_history set customer_id = :merged_id
    where customer_id = :kept_id
      and (order_id || ' ' || extract(epoch from replaced_at)
               in (select row_key from remembered where table_name = 'order_history')
           or replaced_at > :merged_at
              and order_id in (select row_key from remembered where table_name = 'orders'))
    returning order_id
),
back_events as (
    update events set customer_id = :merged_id
    where customer_id = :kept_id and event_id in (select row_id from remembered where table_name = 'events')
    returning event_id
),
back_consents as (
    update consents set customer_id = :merged_id
    where customer_id = :kept_id and consent_id in (select row_id from remembered where table_name = 'consents')
    returning consent_id
),
gone_consents as (
    delete from consents
    where consent_id in (select added_id from remembered where table_name = 'consents')
),
back_choices as (
    update choices set customer_id = :merged_id
    where customer_id = :kept_id and choice_id in (select row_id from remembered where table_name = 'choices')
    returning choice_id
),
gone_choices as (
    delete from choices
    where choice_id in (select added_id from remembered where table_name = 'choices')
),
gone_suppressions as (
    delete from suppressions
    where suppression_id in (select added_id from remembered where table_name = 'suppressions')
),
back_coupons as (
    -- Those of the journeys that go back, too, although they were drawn since.
    update coupons set customer_id = :merged_id
    where customer_id = :kept_id
      and (coupon_id in (select row_id from remembered where table_name = 'coupons')
           or enrollment_id in (select row_id from remembered where table_name = 'enrollments'))
    returning coupon_id
),
back_refusals as (
    update entry_refusals r set customer_id = :merged_id
    where r.customer_id = :kept_id
      and r.refusal_id in (select row_id from remembered where table_name = 'entry_refusals')
      and not exists (
          select from entry_refusals x
          where x.customer_id = :merged_id and x.mode = r.mode and x.journey = r.journey
            and x.occurrence = r.occurrence and x.reason = r.reason)
    returning r.refusal_id
),
back_enrollments as (
    -- An entry that was being written during the merge may have taken the place: then the older one stays.
    update enrollments e set customer_id = :merged_id
    where e.customer_id = :kept_id
      and e.enrollment_id in (select row_id from remembered where table_name = 'enrollments')
      and not exists (
          select from enrollments x
          where x.customer_id = :merged_id
            and (x.cohort_id = e.cohort_id
                 or x.mode = e.mode and x.journey = e.journey and x.occurrence = e.occurrence))
    returning e.enrollment_id
),
back (table_name) as (
    select 'orders' from back_orders
    union all
    select 'order_history' from back_order_history
    union all
    select 'events' from back_events
    union all
    select 'consents' from back_consents
    union all
    select 'choices' from back_choices
    union all
    select 'coupons' from back_coupons
    union all
    select 'entry_refusals' from back_refusals
    union all
    select 'enrollments' from back_enrollments
)
select table_name, count(*) as rows from back group by table_name order by table_name
