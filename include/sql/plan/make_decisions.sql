-- Where decide_step puts its decisions until they are written down: a row a person and channel, reason null where a
-- message may go out. way_reason is why the channel does not reach her; is_first: no channel before this one does; zone and
-- country are hers, as they stand in her record ('' for none).
create temporary table planned_decisions (
    enrollment_id bigint, customer_id text, attempt smallint, last_reason text, place smallint, channel text,
    address text, locale text, zone text, country text, is_first boolean, way_reason text, reason text
) on commit drop
