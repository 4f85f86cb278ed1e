-- Write down who was not taken in, and why; the same reason for the same occurrence once. Returns the counts.
with written as (
    insert into entry_refusals (cohort_id, mode, journey, customer_id, occurrence, reason)
    select :cohort_id, :mode, :journey, customer_id, occurrence, reason
    from judged
    where reason is not null
    order by customer_id
    on conflict (mode, journey, customer_id, occurrence, reason) do nothing
)
select reason, count(*) from judged where reason is not null group by reason order by reason
