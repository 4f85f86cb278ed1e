-- The contacts of all journeys that may count against those that planned_decisions would make: in the temporary table
-- planned_contacts, those of the same people less than :reach days before or after.
create temporary table planned_contacts on commit drop as
select s.customer_id, s.day, s.nth, s.journey, s.channel, s.enrollment_id, s.step
from contact_slots s
where s.mode = :mode
  and s.day > (select min(day) from planned_hours) - :reach and s.day < (select max(day) from planned_hours) + :reach
  and s.customer_id in (select customer_id from planned_decisions where reason is null)
