-- On which channels marketing could reach one customer, as of the moment looked at: each with why not, or null.
select channel, reason
from as_of.reach
where customer_id = :customer_id and purpose = 'marketing'
order by array_position(array['email', 'sms', 'whatsapp', 'webhook'], channel)
