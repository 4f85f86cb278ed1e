-- End the consent to marketing on a channel: of whom the message went to, of everybody who has the address, and of those
-- whom any of them goes on under since customers were merged.
with recursive ended as (
    select e.*, to_timestamp(e.moment) as at
    from unnest(
        cast(:message_ids as bigint[]), string_to_array(:channels, e'\x1f'), string_to_array(:addresses, e'\x1f'),
        string_to_array(:sources, e'\x1f'), cast(:moments as float8[]))
        as e (message_id, channel, address, source, moment)
),
people as (
    select n.customer_id, e.channel, e.source, e.at
    from ended e
    join messages m using (message_id)
    join enrollments n on n.enrollment_id = m.enrollment_id
    union
    select c.customer_id, e.channel, e.source, e.at
    from ended e
    join customers c on e.channel = 'email' and lower(c.email) = e.address and c.email is not null
    union
    select c.customer_id, e.channel, e.source, e.at
    from ended e
    join customers c on e.channel <> 'email' and c.phone = e.address and c.phone is not null
    union
    select g.kept_id, p.channel, p.source, p.at
    from people p
    join customer_merges g on g.merged_id = p.customer_id and g.undone_at is null
)
insert into consents (customer_id, channel, purpose, is_granted, source, occurred_at, recorded_at)
select customer_id, channel, 'marketing', false, source, at, cast(:now as timestamptz)
from people p
where not exists (select from customer_merges g where g.merged_id = p.customer_id and g.undone_at is null)
order by customer_id, at
