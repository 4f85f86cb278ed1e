-- How many messages of answers each customer got and answered, by channel and by slot of the day, into the temporary table
-- answer_counts.
create temporary table answer_counts on commit drop as
select customer_id, 'channel' as kind, channel as option, count(*)::int as sent,
       (count(*) filter (where is_answered))::int as responses
from answers
group by customer_id, channel
union all
select customer_id, 'hour', lpad(hour::text, 2, '0'), count(*)::int, (count(*) filter (where is_answered))::int
from answers
group by customer_id, hour
