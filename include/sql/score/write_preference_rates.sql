-- The whole shop's rates as of :as_of, from answer_counts.
insert into preference_rates (as_of, kind, option, sent, responses, rate)
select :as_of, kind, option, sum(sent), sum(responses), sum(responses)::float8 / sum(sent)
from answer_counts
group by kind, option
