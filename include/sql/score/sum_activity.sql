-- What everybody (:everybody) or those in scratch_touched did besides ordering, after :activity_from until :as_of: in the
-- table scratch_activity.
create unlogged table scratch_activity as
select customer_id, count(*) filter (where kind = 'login') as logins, count(*) filter (where kind = 'view') as views,
       count(*) filter (where kind = 'cart') as carts,
       count(*) filter (where kind = 'participation') as participations,
       count(*) filter (where kind = 'community') as community,
       max(occurred_at) filter (where kind = 'login') as last_login_at
from events
where (:everybody or customer_id in (select customer_id from scratch_touched where by_activity))
  and (cast(:one as text) is null or customer_id = :one)
  and occurred_at > :activity_from and occurred_at <= :as_of and recorded_at <= :known_at
  and kind in ('login', 'view', 'cart', 'participation', 'community')
group by customer_id
