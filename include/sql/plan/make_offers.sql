-- Whose coupon is which of the step's, where there are several: offer counts from 0, null is none. Who is not in it has the first.
create temporary table if not exists planned_offers (enrollment_id bigint, offer smallint) on commit drop
