-- Claim the contacts that planned_decisions makes: each is its customer's next of the day.
insert into contact_slots (customer_id, mode, day, nth, journey, channel, enrollment_id, step)
select d.customer_id, :mode, h.day,
       coalesce(had.nth, 0) + case when :on_each then (
           select count(*) from planned_decisions o
           where o.enrollment_id = d.enrollment_id and o.reason is null and o.place <= d.place) else 1 end,
       :journey, d.channel, d.enrollment_id, :step
from planned_decisions d
join planned_hours h on (h.channel, h.zone, h.country) = (d.channel, d.zone, d.country)
left join (
    select customer_id, day, max(nth) as nth from planned_contacts group by customer_id, day
) as had on had.customer_id = d.customer_id and had.day = h.day
where d.reason is null
