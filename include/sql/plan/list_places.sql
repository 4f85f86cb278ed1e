-- Where those live to whom a message may go out: how many of planned_decisions by channel, zone and country.
select channel, zone, country, count(*) as people
from planned_decisions
where reason is null and (cast(:channel as text) is null or channel = :channel)
group by channel, zone, country
order by channel, zone, country
