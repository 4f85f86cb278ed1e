-- The last :most days, in :zone, on which cohorts of a journey entered, newest first.
select distinct (cohort_at at time zone :zone)::date as day from cohorts where journey = :journey order by day desc limit :most
