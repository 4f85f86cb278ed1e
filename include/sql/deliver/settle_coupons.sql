-- Coupons of these messages follow their fate: issued when one was accepted, given back when it was withheld or refused and
-- nothing else that carries the code went out or still may; then a pool has its code back. :batch_id, where all are of one
-- batch, spares a search of every month's part.
with settled as (
    update coupons
    set state = case when o.kind = 'accepted' then 'issued' else 'given_back' end, state_at = :now
    from messages m
    join outcomes o on o.message_id = m.message_id and o.kind in ('accepted', 'withheld', 'refused')
    where m.message_id = any(cast(:ids as bigint[])) and (cast(:batch_id as bigint) is null or m.batch_id = :batch_id)
      and coupons.coupon_id = m.coupon_id and coupons.step = m.step and coupons.state = 'reserved'
      and (o.kind = 'accepted' or not exists (
          select from messages x
          where x.enrollment_id = m.enrollment_id and x.coupon_id = m.coupon_id and x.message_id <> m.message_id
            and x.decision = 'send' and not exists (
                select from outcomes c where c.message_id = x.message_id and c.kind in ('withheld', 'refused'))))
    returning coupons.state, coupons.pool, coupons.code, coupons.pool_until
)
insert into pool_codes (pool, code, valid_until, added_at)
select pool, code, pool_until, :now from settled where state = 'given_back' and pool is not null
