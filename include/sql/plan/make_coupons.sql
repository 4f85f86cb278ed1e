-- Which coupon goes with each of planned_decisions: the one she has from an earlier step (coupon_id), or a new one of :offers, in the
-- temporary table planned_coupons. A generated code is there at once; one of a pool is drawn by claim_codes.sql, and code stays
-- null until then. Who has had her only one and has used it, or let it lapse, is not in it: "one a person" holds for her, too.
--
-- A generated code: ten letters and digits out of 32 that can't be mistaken for each other, two of the 64 signs of base64 for
-- each. They come from the enrollment and a secret that the server's strong random source gives for this plan alone.
create temporary table planned_coupons on commit drop as
with offers as (
    select *
    from jsonb_to_recordset(cast(:offers as jsonb)) as o(offer smallint, is_own boolean, pool text, valid_until timestamptz)
),
wanted as (
    select d.enrollment_id, d.customer_id, cast(case when p.enrollment_id is null then 0 else p.offer end as smallint) as offer
    from planned_decisions d
    left join planned_offers p using (enrollment_id)
    where d.reason is null and d.is_first
),
had as (
    -- The newest of her coupons that can still be spoken of; this step's own comes first, one she has used last.
    select distinct on (k.enrollment_id) k.enrollment_id, k.coupon_id, k.step = :step as is_this,
           k.state = 'redeemed' as is_used,
           -- One of a pool that is not out yet may still go back to it.
           k.state = 'redeemed' or k.valid_until > :due_at and (k.pool is null or k.state <> 'reserved') as is_good
    from coupons k
    -- The enrollments of a cohort lie together.
    where :has_coupons and k.enrollment_id between (select min(enrollment_id) from planned_people) and :last_id
      and k.state <> 'given_back'
    order by k.enrollment_id, k.step = :step desc, k.state = 'redeemed', k.coupon_id desc
),
matched as (
    select w.*, o.offer is not null as is_given, o.pool, o.valid_until,
           -- One of an earlier step is hers for this one, too, unless this one gives one of its own.
           case when h.is_this or o.offer is null and h.is_good or h.is_good and not h.is_used and not o.is_own
                then h.coupon_id end as coupon_id,
           h.coupon_id is null or o.is_own and not h.is_this as is_new
    from wanted w
    left join offers o on o.offer = w.offer
    left join had h on h.enrollment_id = w.enrollment_id
)
select enrollment_id, customer_id, offer, pool, coupon_id, valid_until, cast(null as timestamptz) as pool_until,
       case when coupon_id is null and pool is null then upper(translate(
           left(encode(sha256(
               (select uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) || int8send(enrollment_id)), 'base64'), 10),
           'IiOo01+/', '67892345')) end as code
from matched
where coupon_id is not null or is_given and is_new
