-- Who moves to another tier of the second scheme, in the table scratch_shares. One rises when a cut is exceeded and falls
-- below the looser one. :names from low to high.
create unlogged table scratch_shares as
select * from (
    select customer_id, previous,
           (cast(:names as text[]))[greatest(
               case when points > :high then 4 when points > :mid then 3 when points > :potential then 2 else 1 end,
               least(coalesce(array_position(cast(:names as text[]), previous), 1),
                     case when points > :high_kept then 4 when points > :mid_kept then 3
                          when points > :potential_kept then 2 else 1 end))] as tier
    from scratch_rated
    offset 0
) as judged
where tier is distinct from previous
