-- The points that the given shares of everybody do not exceed.
select percentile_disc(cast(:shares as float8[])) within group (order by points) as cuts from scratch_rated
