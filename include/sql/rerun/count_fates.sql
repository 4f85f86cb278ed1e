-- How many people of planned_fates stand where.
select fate, count(*) as people from planned_fates group by fate
