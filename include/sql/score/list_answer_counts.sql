-- What is known of the customers of answer_counts by channel and by slot of the day, the best first, beside the shop's rate as of
-- the moment looked at.
select c.customer_id, c.kind, c.option, c.sent, c.responses, r.rate as usual_rate,
       as_of.shrunken_rate(c.responses, c.sent, r.rate, :strength) as rate
from answer_counts c
left join as_of.preference_rates r using (kind, option)
order by c.customer_id, c.kind, c.responses > 0 desc, rate desc, c.responses desc, c.option
