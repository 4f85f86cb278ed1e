-- Everybody in a tier of :scheme as of :as_of, by id: since when, the levels, and (:is_latest: customer_sums stands for this very
-- moment) the sums that they come from. For another moment the levels are those at the change.
select t.customer_id, t.tier, t.since, coalesce(s.levels, t.levels) as levels,
       s.last_order_at, s.orders, s.amount, s.logins, s.views, s.carts, s.participations, s.community,
       s.customer_id is not null as has_sums
from (
    select distinct on (customer_id) customer_id, tier, since, levels
    from tiers
    where scheme = :scheme and since <= :as_of
    order by customer_id, since desc
) as t
left join customer_sums s on s.customer_id = t.customer_id and cast(:is_latest as boolean)
where t.tier is not null
order by t.customer_id
