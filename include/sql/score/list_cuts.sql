-- The cut points of a run.
select dimension, point, cut, kept, is_inclusive from score_cuts where run_id = :run_id order by dimension, point
