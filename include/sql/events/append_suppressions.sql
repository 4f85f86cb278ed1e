-- Addresses that are not to be used again: one element each of the arrays.
insert into suppressions (channel, address, is_suppressed, reason, occurred_at, recorded_at)
select distinct channel, address, true, reason, to_timestamp(moment), cast(:now as timestamptz)
from unnest(
    string_to_array(:channels, e'\x1f'), string_to_array(:addresses, e'\x1f'), string_to_array(:reasons, e'\x1f'),
    cast(:moments as float8[])) as gone (channel, address, reason, moment)
