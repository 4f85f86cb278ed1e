-- The new levels and tiers of scratch_judged, into the table of sums.
update customer_sums s
set levels = j.new_levels, six = j.new_six
from scratch_judged j
where j.customer_id = s.customer_id
