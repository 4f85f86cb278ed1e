-- Where the hours of contact begin only after the step has expired, nobody of planned_decisions can be written to.
update planned_decisions d
set reason = 'expired'
from planned_hours h
where d.reason is null and (h.channel, h.zone, h.country) = (d.channel, d.zone, d.country) and h.not_before >= h.not_after
