-- As of when coupons were last held against orders (null: never), and whether that is no beginning to go on from: it lies
-- after :as_of, or a load has brought facts since that count as known long ago.
select m.as_of,
       coalesce(m.as_of > :as_of, false) or exists (
           select from imports i
           where i.is_history and i.state = 'done'
             and coalesce(i.ended_at, i.started_at) > coalesce(m.matched_at, '-infinity')) as is_stale
from (select) as one
left join (select * from coupon_matches order by match_id desc limit 1) as m on true
