"""Messages that went out, for tests of what comes back: a row each, without planning anything."""

from sqlalchemy import text

from tests.world import shanghai

AT = shanghai("2026-12-01 10:00")


def send(world, *customers, channel="email", journey="birthday_care", mode="live", at=AT, address=None, state="done"):
    """A message to each of these customers (made where they are missing), in one batch; customer -> message id."""
    for it in customers:
        if not world.count("customers", customer_id=it):
            world.customer(it)
    said = {"journey": journey, "mode": mode, "at": at, "channel": channel, "state": state}
    with world.engine.begin() as conn:
        number = conn.scalar(text("select count(*) from cohorts"))
        version = conn.scalar(
            text(
                "insert into journey_versions (journey, content_hash, content, created_at)"
                " values (:journey, 'h' || :number, '{}', :at) returning version_id"
            ),
            said | {"number": str(number)},
        )
        cohort = conn.scalar(
            text(
                "insert into cohorts (mode, journey, cohort_at, version_id, status, candidates, created_at)"
                " values (:mode, :journey, :at + :number * interval '1 s', :version, 'open', 1, :at) returning cohort_id"
            ),
            said | {"version": version, "number": number},
        )
        batch = conn.scalar(
            text(
                "insert into batches (cohort_id, step, channel, wave, ordinal, size, state, planned_at, sending_at)"
                " values (:cohort, 'greeting', :channel, 0, 0, :size, :state, :at, :at) returning batch_id"
            ),
            said | {"cohort": cohort, "size": len(customers)},
        )
        found = conn.execute(
            text(
                "with entered as (insert into enrollments (cohort_id, mode, journey, customer_id, occurrence, arm,"
                " is_eligible, email, phone, entered_at) select :cohort, :mode, :journey, customer_id,"
                " 'round:' || :cohort, 'default', true, email, phone, :at from customers where customer_id = any(:ids)"
                " returning enrollment_id, customer_id, email, phone)"
                " insert into messages (enrollment_id, cohort_id, step, channel, attempt, role, decision, address, locale,"
                " batch_id, due_at, not_before, not_after, planned_at)"
                " select enrollment_id, :cohort, 'greeting', :channel, 1, 'first', 'send',"
                " coalesce(:address, case when :channel = 'email' then lower(email) else phone end),"
                " 'zh-CN', :batch, :at, :at, :at + interval '1 day', :at from entered order by customer_id"
                " returning enrollment_id, message_id"
            ),
            said | {"cohort": cohort, "batch": batch, "ids": list(customers), "address": address},
        ).all()
        who = conn.execute(
            text("select enrollment_id, customer_id from enrollments where cohort_id = :c"), {"c": cohort}
        )
        customer_of = {enrollment: customer for enrollment, customer in who}
    return {customer_of[enrollment]: message for enrollment, message in found}
