-- Take back withdrawals that were made here since an instant, where consent stood before: for the customer and whoever has the
-- same address. Returns customer_id, channel of what is granted again.
with people as (
    select cast(:customer_id as text) as customer_id
    union
    select customer_id from customers where email is not null and lower(email) = any(cast(:emails as text[]))
    union
    select customer_id from customers where phone is not null and phone = any(cast(:phones as text[]))
),
ranked as (
    select k.customer_id, k.channel, k.is_granted, k.source, k.occurred_at,
           row_number() over (partition by k.customer_id, k.channel order by k.occurred_at desc, k.consent_id desc) as nth
    from people
    join consents k using (customer_id)
    where k.purpose = 'marketing'
)
insert into consents (customer_id, channel, purpose, is_granted, source, wording, occurred_at, recorded_at)
select latest.customer_id, latest.channel, 'marketing', true, 'page', :wording, :now, :now
from ranked latest
join ranked earlier on earlier.customer_id = latest.customer_id and earlier.channel = latest.channel and earlier.nth = 2
where latest.nth = 1 and not latest.is_granted and latest.source in ('page', 'mailbox') and latest.occurred_at >= :since
  and earlier.is_granted
returning customer_id, channel
