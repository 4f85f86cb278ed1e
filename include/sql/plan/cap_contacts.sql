-- One cap: whoever of planned_decisions has had :most contacts less than :days days before or after, of all journeys or of
-- :journey, on all channels or on :channel, is given the reason frequency_cap. A step counts once, whatever its channels;
-- for a channel each message does.
update planned_decisions d
set reason = 'frequency_cap'
from (
    select d.enrollment_id, d.channel
    from planned_decisions d
    join planned_hours h on (h.channel, h.zone, h.country) = (d.channel, d.zone, d.country)
    join planned_contacts p on p.customer_id = d.customer_id and p.day > h.day - :days and p.day < h.day + :days
    where d.reason is null
      -- What is sent again, because it bounced or somebody wants it so, is still the same contact.
      and not (p.enrollment_id = d.enrollment_id and p.step = :step)
      and (cast(:journey as text) is null or p.journey = :journey)
      and (cast(:channel as text) is null or p.channel = :channel and d.channel = :channel)
    group by d.enrollment_id, d.channel
    having count(distinct (p.enrollment_id, p.step)) >= :most
) as used_up
where d.reason is null and (d.enrollment_id, d.channel) = (used_up.enrollment_id, used_up.channel)
