-- Append the points of value_scores of whom one moved by :dead_band or more, or of what somebody has now and nobody had (or
-- the other way round); and that somebody has none any more.
insert into customer_points (customer_id, since, points, purchases, referrals, advocacy, answers, participation, surveys,
                             suggestions)
select customer_id, :as_of, s.points, s.purchases, s.referrals, s.advocacy, s.answers, s.participation, s.surveys,
       s.suggestions
from value_scores s
full join (
    select distinct on (customer_id) * from customer_points order by customer_id desc, since desc
) as l using (customer_id)
where (s.points is null) <> (l.points is null)
   or (s.purchases is null) <> (l.purchases is null)
   or (s.referrals is null) <> (l.referrals is null)
   or (s.advocacy is null) <> (l.advocacy is null)
   or (s.answers is null) <> (l.answers is null)
   or (s.participation is null) <> (l.participation is null)
   or (s.surveys is null) <> (l.surveys is null)
   or (s.suggestions is null) <> (l.suggestions is null)
   or greatest(abs(s.points - l.points), abs(s.purchases - l.purchases),
               abs(s.referrals - l.referrals),
               abs(s.advocacy - l.advocacy),
               abs(s.answers - l.answers),
               abs(s.participation - l.participation),
               abs(s.surveys - l.surveys),
               abs(s.suggestions - l.suggestions)) >= :dead_band
