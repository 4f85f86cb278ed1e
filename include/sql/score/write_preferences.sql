-- The channel and the slot of the day in which each customer of answer_counts answers best, of those answered at all, where one
-- of them or what it rests on differs from what was kept; nulls for who has answered nothing any more.
insert into customer_preferences (customer_id, as_of, channel, channel_sent, channel_responses, hour, hour_sent, hour_responses)
with best as (
    select distinct on (c.customer_id, c.kind) c.customer_id, c.kind, c.option, c.sent, c.responses
    from answer_counts c
    join preference_rates r on r.as_of = :as_of and r.kind = c.kind and r.option = c.option
    where c.responses > 0
    order by c.customer_id, c.kind, as_of.shrunken_rate(c.responses, c.sent, r.rate, :strength) desc,
             c.responses desc, c.option
),
found as (
    -- One pass: a join of the two kinds would be planned for a few rows.
    select customer_id, max(option) filter (where kind = 'channel') as channel,
           max(sent) filter (where kind = 'channel') as channel_sent,
           max(responses) filter (where kind = 'channel') as channel_responses,
           (max(option) filter (where kind = 'hour'))::int as hour,
           max(sent) filter (where kind = 'hour') as hour_sent,
           max(responses) filter (where kind = 'hour') as hour_responses
    from best
    group by customer_id
),
kept as (
    select distinct on (customer_id) *
    from customer_preferences
    order by customer_id, as_of desc
)
select customer_id, :as_of, f.channel, f.channel_sent, f.channel_responses, f.hour, f.hour_sent, f.hour_responses
from found f
full join kept k using (customer_id)
where (f.channel, f.channel_sent, f.channel_responses, f.hour, f.hour_sent, f.hour_responses)
      is distinct from (k.channel, k.channel_sent, k.channel_responses, k.hour, k.hour_sent, k.hour_responses)
