-- The pairs of frequency and age among the customers of purchase_sums.
select distinct frequency, age from purchase_sums
