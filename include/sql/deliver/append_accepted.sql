-- Append that a provider took these messages together, under one id. Nobody else can have an answer for them: their batch
-- is locked, and they had none. (on conflict would cost as much as the rest.)
insert into outcomes (message_id, kind, provider, provider_id, occurred_at, recorded_at)
select message_id, 'accepted', :provider, :provider_id, :now, :now
from unnest(cast(:ids as bigint[])) as accepted (message_id)
