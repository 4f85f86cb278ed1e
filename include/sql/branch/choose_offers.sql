-- The coupons of those who do not get the step's own, for make_coupons.
insert into planned_offers (enrollment_id, offer)
select enrollment_id, offer from planned_choices where offer is not null
