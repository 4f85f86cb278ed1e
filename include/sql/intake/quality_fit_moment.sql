-- When a hold that stood at the moment :moment was lifted; null if none did, or one still stands.
select max(lifted_at) from data_holds where placed_at <= :moment and lifted_at > :moment
