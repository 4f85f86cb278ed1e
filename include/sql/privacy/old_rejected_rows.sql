-- Let go of the rejected rows of loads that began before :before, :most at once; how many there were stays with the load.
delete from rejected_rows
where ctid in (
    select r.ctid
    from rejected_rows r
    join imports i using (import_id)
    where i.started_at < :before
    order by r.ctid
    limit :most)
