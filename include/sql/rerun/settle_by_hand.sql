-- Messages of a cohort's step whose answer was lost are settled as not arrived, by a person's word: refused, `by_hand`; not those
-- of which their provider has reported anything (:reported). Their coupons stay taken, for nobody knows whether the code was read.
insert into outcomes (message_id, kind, reason, occurred_at, recorded_at)
select m.message_id, 'refused', 'by_hand', :now, :now
from messages m
where m.cohort_id = :cohort_id and m.step = :step and m.decision = 'send'
  and exists (select from outcomes o where o.message_id = m.message_id and o.kind = 'unknown')
  and not exists (
      select from outcomes o
      where o.message_id = m.message_id and (o.kind in ('accepted', 'withheld', 'refused') or o.kind = any(cast(:reported as text[]))))
on conflict do nothing
