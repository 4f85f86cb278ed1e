-- The moves of scratch_shares, into the table of sums.
update customer_sums s set shares = m.tier from scratch_shares m where m.customer_id = s.customer_id
