-- The staged permissions, each once: the temporary table incoming_consents. A row with a time of its own is that decision.
-- One without says how the source sees it now, and the stricter side wins: a "no" counts whenever the latest decision is
-- not a "no"; a "yes" counts only where nobody decided yet or this same source said the latest word.
create temporary table incoming_consents on commit drop as
with dated as (
    select distinct customer_id, channel, purpose, is_granted, occurred_at
    from staged_consents
    where occurred_at is not null and not is_gone
),
standing as (
    select distinct on (customer_id, channel, purpose) customer_id, channel, purpose, is_granted
    from staged_consents
    where occurred_at is null and not is_gone
    order by customer_id, channel, purpose, row_line desc
)
select d.customer_id, d.channel, d.purpose, d.is_granted, d.occurred_at,
       not exists (
           select from consents k
           where k.customer_id = d.customer_id and k.channel = d.channel and k.purpose = d.purpose
             and k.is_granted = d.is_granted and k.occurred_at = d.occurred_at and k.source = :source) as is_new
from dated d
union all
select s.customer_id, s.channel, s.purpose, s.is_granted, :now,
       case when latest.is_granted is null then true
            when s.is_granted then not latest.is_granted and latest.source = :source
            else latest.is_granted end as is_new
from standing s
left join lateral (
    select k.is_granted, k.source from consents k
    where k.customer_id = s.customer_id and k.channel = s.channel and k.purpose = s.purpose
    order by k.occurred_at desc, k.consent_id desc
    limit 1
) as latest on true
