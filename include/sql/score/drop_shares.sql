-- The second scheme is not kept any more: everybody leaves it, as moves in the table scratch_shares.
create unlogged table scratch_shares as
select customer_id, shares as previous, cast(null as text) as tier from customer_sums where shares is not null
