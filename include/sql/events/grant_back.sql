-- Consents that a customer's own word ended by this very source, and their own word brings back at this moment: only to
-- what was granted before, and only where nothing else stands against the address. A number's or a person's (:customers,
-- empty where everybody with the number is meant).
with back as (
    select b.*, to_timestamp(b.moment) as at
    from unnest(
        string_to_array(:customers, e'\x1f', ''), string_to_array(:channels, e'\x1f'),
        string_to_array(:addresses, e'\x1f', ''), string_to_array(:sources, e'\x1f'), cast(:moments as float8[]))
        as b (customer_id, channel, address, source, moment)
),
people as (
    select b.customer_id, b.channel, b.source, b.at
    from back b
    where b.customer_id is not null
    union
    select c.customer_id, b.channel, b.source, b.at
    from back b
    join customers c on b.customer_id is null and c.phone = b.address and c.phone is not null
),
stood as (
    select p.*,
           (select k.is_granted from consents k
            where k.customer_id = p.customer_id and k.channel = p.channel and k.purpose = 'marketing'
              and k.occurred_at <= p.at
            order by k.occurred_at desc, k.consent_id desc limit 1) as is_granted,
           (select k.consent_id from consents k
            where k.customer_id = p.customer_id and k.channel = p.channel and k.purpose = 'marketing'
              and k.occurred_at <= p.at and not (k.source = p.source and not k.is_granted)
            order by k.occurred_at desc, k.consent_id desc limit 1) as before_id
    from people p
)
insert into consents (customer_id, channel, purpose, is_granted, source, wording, occurred_at, recorded_at)
select s.customer_id, s.channel, 'marketing', true, s.source, k.wording, s.at, cast(:now as timestamptz)
from stood s
join consents k on k.consent_id = s.before_id and k.is_granted
where not s.is_granted
  and not exists (
      select from customers c
      join suppressions u on u.channel = s.channel
          and u.address = case when s.channel = 'email' then lower(c.email) else c.phone end
      where c.customer_id = s.customer_id and u.is_suppressed and u.occurred_at <= s.at
        and not exists (
            select from suppressions l
            where l.channel = u.channel and l.address = u.address and not l.is_suppressed
              and l.occurred_at > u.occurred_at and l.occurred_at <= s.at))
order by s.customer_id, s.at
