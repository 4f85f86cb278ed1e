-- How many codes of a pool were dealt a day since :since, or since the first one if that is later. Codes that came back count:
-- a day on which many are withheld still asks for them.
select coalesce(
    count(*) / greatest(1, least(:days, extract(epoch from cast(:now as timestamptz) - min(reserved_at)) / 86400)), 0)
from coupons
where pool = :pool and reserved_at > :since and reserved_at <= :now
