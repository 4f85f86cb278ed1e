-- Let go of claimed contacts of days before :before, :most at once.
delete from contact_slots
where ctid in (select ctid from contact_slots where day < cast(:before as timestamptz)::date limit :most)
