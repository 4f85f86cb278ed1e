-- What every customer did besides ordering, after :activity_from until :as_of, in the table scratch_activity.
create unlogged table scratch_activity as
select customer_id, count(*) filter (where kind = 'login') as logins, count(*) filter (where kind = 'view') as views,
       count(*) filter (where kind = 'cart') as carts,
       count(*) filter (where kind = 'participation') as participations,
       count(*) filter (where kind = 'community') as community,
       max(occurred_at) filter (where kind = 'login') as last_login_at
from events
where occurred_at > :activity_from and occurred_at <= :as_of and recorded_at <= :known_at
  and kind in ('login', 'view', 'cart', 'participation', 'community')
group by customer_id
