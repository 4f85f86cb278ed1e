-- Append what is new; of one moment a "no" comes last, so that it counts. Returns the counts: new, changed, same, repeated,
-- older, gone.
with added as (
    insert into choices (customer_id, subject, is_granted, source, wording, occurred_at, recorded_at)
    select customer_id, subject, is_granted, :source, wording, occurred_at,
           case when :is_history then least(occurred_at, :now) else :now end
    from incoming_choices
    where is_new
    order by occurred_at, customer_id, subject, is_granted desc
    returning 1
)
select (select count(*) from added) as new, 0 as changed, 0 as gone, 0 as older,
       count(*) - (select count(*) from added) as same,
       (select count(*) from staged_choices) - count(*) as repeated
from incoming_choices
