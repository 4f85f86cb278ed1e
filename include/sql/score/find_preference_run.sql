-- The rules of the run of preferences that holds at the moment looked at.
select as_of, strength, look_back_s, slot_hours from as_of.preference_runs
