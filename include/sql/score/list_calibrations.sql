-- How right a score has been over time.
select score, as_of, until_at, customers, positives, threshold, foretold, hits, deciles
from score_calibrations
where score = :score
order by as_of, until_at, threshold
