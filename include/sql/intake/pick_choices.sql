-- The staged choices (data abroad, profiling), each once: the temporary table incoming_choices. As with permissions, a row with
-- a time of its own is that decision; one without says how the source sees it now, and the stricter side wins.
create temporary table incoming_choices on commit drop as
with dated as (
    select customer_id, subject, is_granted, occurred_at, max(wording) as wording
    from staged_choices
    where occurred_at is not null and not is_gone
    group by customer_id, subject, is_granted, occurred_at
),
standing as (
    select distinct on (customer_id, subject) customer_id, subject, is_granted, wording
    from staged_choices
    where occurred_at is null and not is_gone
    order by customer_id, subject, row_line desc
)
select d.customer_id, d.subject, d.is_granted, d.wording, d.occurred_at,
       not exists (
           select from choices k
           where k.customer_id = d.customer_id and k.subject = d.subject and k.is_granted = d.is_granted
             and k.occurred_at = d.occurred_at and k.source = :source
             and (d.wording is null or k.wording is not null)) as is_new
from dated d
union all
select s.customer_id, s.subject, s.is_granted, s.wording, :now,
       case when latest.is_granted is null then true
            when s.is_granted then latest.source = :source
                                   and (not latest.is_granted or (s.wording is not null and latest.wording is null))
            else latest.is_granted end as is_new
from standing s
left join lateral (
    select k.is_granted, k.source, k.wording from choices k
    where k.customer_id = s.customer_id and k.subject = s.subject
    order by k.occurred_at desc, k.choice_id desc
    limit 1
) as latest on true
