-- What the shop tells us at all, as of :as_of: logins (before :logins_until, so for long enough, and after :logins_from, so
-- still), complaints, and orders that came to nothing.
select exists (select from events
               where kind = 'login' and occurred_at <= :logins_until and recorded_at <= :known_at)
       and exists (select from events
                   where kind = 'login' and occurred_at > :logins_from and occurred_at <= :as_of
                     and recorded_at <= :known_at) as logins,
       exists (select from events
               where kind = 'complaint_opened' and occurred_at <= :as_of and recorded_at <= :known_at) as complaints,
       exists (select from order_status
               where status in ('cancelled', 'refunded') and occurred_at <= :as_of and recorded_at <= :known_at) as undone
