-- Take the addresses out of enrollments of before :before, :most at once: nobody asks any more whether the same address entered.
update enrollments
set email = null, phone = null
where enrollment_id in (
    select enrollment_id from enrollments
    where entered_at < :before and (email is not null or phone is not null)
    order by enrollment_id
    limit :most)
