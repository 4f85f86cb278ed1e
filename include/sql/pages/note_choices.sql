-- Note choices of a customer, with the words they were shown; one that stands as it is adds nothing.
insert into choices (customer_id, subject, is_granted, source, wording, occurred_at, recorded_at)
select :customer_id, chosen.subject, chosen.is_granted, 'page', chosen.wording, :now, :now
from unnest(cast(:subjects as text[]), cast(:granted as boolean[]), cast(:wordings as text[]))
    as chosen (subject, is_granted, wording)
where chosen.is_granted is distinct from (
    select c.is_granted from choices c
    where c.customer_id = :customer_id and c.subject = chosen.subject
    order by c.occurred_at desc, c.choice_id desc limit 1)
returning subject
