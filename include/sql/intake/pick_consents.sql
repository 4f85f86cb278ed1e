-- The staged permissions, each once: the temporary table incoming_consents. A row with a time of its own is that decision.
-- One without says how the source sees it now, and the stricter side wins: a "no" counts whenever the latest decision is
-- not a "no"; a "yes" counts only where nobody decided yet or this same source said the latest word. The wording that was
-- agreed to may be told later: then the decision comes once more, with it.
create temporary table incoming_consents on commit drop as
with dated as (
    select customer_id, channel, purpose, is_granted, occurred_at, max(wording) as wording
    from staged_consents
    where occurred_at is not null and not is_gone
    group by customer_id, channel, purpose, is_granted, occurred_at
),
standing as (
    select distinct on (customer_id, channel, purpose) customer_id, channel, purpose, is_granted, wording
    from staged_consents
    where occurred_at is null and not is_gone
    order by customer_id, channel, purpose, row_line desc
)
select d.customer_id, d.channel, d.purpose, d.is_granted, d.wording, d.occurred_at,
       not exists (
           select from consents k
           where k.customer_id = d.customer_id and k.channel = d.channel and k.purpose = d.purpose
             and k.is_granted = d.is_granted and k.occurred_at = d.occurred_at and k.source = :source
             and (d.wording is null or k.wording is not null)) as is_new
from dated d
union all
select s.customer_id, s.channel, s.purpose, s.is_granted, s.wording, :now,
       case when latest.is_granted is null then true
            when s.is_granted then latest.source = :source
                                   and (not latest.is_granted or (s.wording is not null and latest.wording is null))
            else latest.is_granted end as is_new
from standing s
left join lateral (
    select k.is_granted, k.source, k.wording from consents k
    where k.customer_id = s.customer_id and k.channel = s.channel and k.purpose = s.purpose
    order by k.occurred_at desc, k.consent_id desc
    limit 1
) as latest on true
