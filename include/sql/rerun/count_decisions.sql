-- What a plan has decided for people of planned_fates: by reason, null for who gets a message; is_twice: one of them arrived before,
-- or may have.
select d.reason, coalesce(f.fate in ('arrived', 'unknown'), false) as is_twice, count(distinct d.enrollment_id) as people
from planned_decisions d
left join planned_fates f using (enrollment_id)
where d.is_first
group by 1, 2
