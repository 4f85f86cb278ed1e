-- Levels and tiers of the first scheme, from scored_sums and the cut points: those that change, or all with :everybody,
-- in the table scratch_judged. A level rises when its cut is exceeded and falls below the looser one: in between, whoever
-- is there stays. :table holds the tier of each combination of levels, first for those who ordered lately, then for the
-- quiet: a byte each, the place of its name in :names.
create unlogged table scratch_judged as
select * from (
    select judged.*, case when :is_kept then case when first_order_at >= :new_from then 'new'
                     else (cast(:names as text[]))[get_byte(cast(:table as bytea),
                         new_levels + case when last_order_at <= :quiet_from then 81 else 0 end)] end end as new_six
    from (
        select s.*,
               27 * greatest(
                   case when recency > :recency_high then 2 when recency > :recency_mid then 1 else 0 end,
                   least(levels / 27, case when recency > :recency_high_kept then 2
                        when recency > :recency_mid_kept then 1 else 0 end))
               + 9 * greatest(
                   case when bought > :frequency_high then 2 when bought > :frequency_mid then 1 else 0 end,
                   least(levels / 9 % 3, case when bought > :frequency_high_kept then 2
                        when bought > :frequency_mid_kept then 1 else 0 end))
               + 3 * greatest(
                   case when spent > :monetary_high then 2 when spent > :monetary_mid then 1 else 0 end,
                   least(levels / 3 % 3, case when spent > :monetary_high_kept then 2
                        when spent > :monetary_mid_kept then 1 else 0 end))
               + greatest(
                   case when done > :activity_high then 2 when done > :activity_mid then 1 else 0 end,
                   least(levels % 3, case when done > :activity_high_kept then 2
                        when done > :activity_mid_kept then 1 else 0 end)) as new_levels
        from (
            -- Nothing, or less than nothing, is low whatever the cut.
            select s.*, date_part('epoch', last_order_at) as recency, nullif(orders, 0) as bought,
                   case when amount > 0 then cast(amount as float8) end as spent,
                   nullif(logins * cast(:login as float8) + views * cast(:view as float8) + carts * cast(:cart as float8)
                          + participations * cast(:participation as float8)
                          + community * cast(:community as float8), 0) as done
            from scored_sums s
            offset 0
        ) as s
        offset 0
    ) as judged
    offset 0
) as found
where :everybody or new_levels <> levels or new_six is distinct from six
