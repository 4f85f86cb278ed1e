-- When those who live in a zone and country may be written to on a channel: the wave their batches go in, from when and until
-- when, and the day of their own zone on which it counts. batch_zone, opens and closes are the hours a batch keeps to.
create temporary table planned_hours (
    channel text, zone text, country text, wave smallint, not_before timestamptz, not_after timestamptz, day date,
    batch_zone text, opens time, closes time
) on commit drop
