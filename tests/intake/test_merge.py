"""Merge: one person under two ids; nothing is lost, the stricter consent wins, nobody is carried twice, all undoable."""

from collections import defaultdict
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text

from retention.errors import RetentionError
from retention.intake import merge
from retention.journey.load import load_version
from retention.orchestration import cohort
from retention.store.queries import look_as_of
from retention.store.tables import MODES, metadata
from tests.world import DAY, LONG_AGO, example, shanghai

AT = shanghai("2026-12-01 06:00")
GREETING = shanghai("2026-12-01 10:00")
LAST_DAY = shanghai("2026-12-07 10:00")
NOON = shanghai("2026-12-01 12:00")
HOUR = timedelta(hours=1)

RECORDS = {"audit_log", "customer_history", "customer_merges", "customer_merge_rows", "alembic_version"}


def merge_(world, kept="a", merged="b", at=NOON):
    with world.engine.begin() as conn:
        return merge.merge_customers(conn, kept, merged, reason="same person", actor="ada", now=at)


def undo(world, merged="b", at=NOON + DAY):
    with world.engine.begin() as conn:
        return merge.undo_merge(conn, merged, reason="two persons", actor="ada", now=at)


def with_audience(sql, **changes):
    content = dict(example(holdout="0%", **changes).content)
    content["sql/audiences/birthday_in_3_days.sql"] = sql
    return load_version(content)


def enter(world, version=None, at=AT, **options):
    return cohort.enroll(world.engine, version or example(holdout="0%"), at, clock=lambda: at, **options)


def plan(world, cohort_id, step="greeting", at=GREETING):
    cohort.plan(world.engine, cohort_id, step, clock=lambda: at)


def deliver(world, cohort_id, step="greeting", at=GREETING):
    for channel in ("email", "sms"):
        cohort.deliver(world.engine, cohort_id, step, channel, clock=lambda: at)


def snapshot(conn):
    """table -> its rows, apart from what records the past; customers apart from when they were recorded."""
    found = {}
    for table in metadata.sorted_tables:
        if table.name in RECORDS or table.name == "lunar_months":
            continue
        columns = [c for c in table.c if (table.name, c.name) != ("customers", "recorded_at")]
        found[table.name] = sorted(map(repr, conn.execute(select(*columns))))
    return found


def customer(world, customer_id):
    with world.engine.connect() as conn:
        table = metadata.tables["customers"]
        return dict(conn.execute(select(table).where(table.c.customer_id == customer_id)).mappings().one())


def refuse(world, cohort_id, customer_id, occurrence):
    world.add(
        "entry_refusals",
        cohort_id=cohort_id,
        mode="test",
        journey="birthday_care",
        customer_id=customer_id,
        occurrence=occurrence,
        reason="backlog",
    )


def event(world, customer_id, key, at=AT):
    world.add("events", customer_id=customer_id, kind="login", source_key=key, occurred_at=at, recorded_at=at)


# --- what goes over --------------------------------------------------------------------------------------------------


def test_the_history_goes_on_under_the_kept_id(world):
    world.customer("a")
    world.customer("b", "12-04")
    world.order("o1", "b", AT - DAY)
    world.order("mine", "a", AT - DAY)
    event(world, "b", "e1")
    cohort_id = enter(world).cohort_id
    plan(world, cohort_id)  # reserves a coupon
    refuse(world, cohort_id, "b", "birthday:2025")
    done = merge_(world)
    assert (done.kept_id, done.merged_id) == ("a", "b")
    assert done.rows == {"orders": 1, "events": 1, "consents": 2, "coupons": 1, "enrollments": 1, "entry_refusals": 1}
    assert done.ended == ()
    for table in ("orders", "events", "consents", "coupons", "enrollments", "entry_refusals", "customers"):
        assert world.count(table, customer_id="b") == 0, table
    assert world.count("orders", customer_id="a") == 2
    assert world.rows("select actor, action, detail ->> 'kept_id', detail ->> 'reason' from audit_log") == [
        ("ada", "merge_customers", "a", "same person")
    ]


def test_what_was_known_when_does_not_change(world):
    world.customer("a")
    world.customer("b")
    world.order("o1", "b", AT - 2 * DAY)
    with world.engine.begin() as conn:  # a correction: the earlier state is kept
        conn.execute(text("update orders set amount = 5, currency = 'CNY', recorded_at = :at"), {"at": AT - DAY})
    merge_(world)
    assert world.rows("select customer_id, recorded_at from orders") == [("a", AT - DAY)]
    assert world.rows("select customer_id, replaced_at from order_history") == [("a", AT - DAY)]
    with world.engine.begin() as conn:
        look_as_of(conn, AT - 1.5 * DAY)
        assert conn.execute(text("select customer_id, amount from as_of.orders")).all() == [("a", None)]


def test_the_merged_customer_is_known_until_the_merge(world):
    world.customer("a")
    world.customer("b", email="b@example.com")
    merge_(world)

    def known(moment):
        with world.engine.begin() as conn:
            look_as_of(conn, moment)
            return set(conn.scalars(text("select customer_id from as_of.customers")))

    assert known(NOON - HOUR) == {"a", "b"}
    assert known(NOON) == {"a"}
    undo(world, at=NOON + DAY)
    assert known(NOON + HOUR) == {"a"}
    assert known(NOON + DAY) == {"a", "b"}


def test_a_customer_learned_of_at_the_very_moment_leaves_no_history(world):
    world.customer("a")
    world.customer("b", since=AT)
    world.change_customer("b", NOON, name="later")
    merge_(world, at=NOON)  # the trigger wrote (b, noon) already
    assert world.rows("select customer_id, replaced_at from customer_history") == [("b", NOON)]


# --- gaps ------------------------------------------------------------------------------------------------------------


def test_gaps_are_filled_and_nothing_is_overwritten(world):
    world.customer("a", name="A", email=None, locale=None, attributes={"tier": "gold"})
    world.customer("b", "12-04", name="B", email="b@example.com", birth_year=1990, attributes={"tier": "x", "size": 4})
    phone = customer(world, "a")["phone"]
    done = merge_(world)
    now = customer(world, "a")
    assert (now["name"], now["email"], now["phone"], now["locale"]) == ("A", "b@example.com", phone, "zh-CN")
    assert (now["birth_month"], now["birth_day"], now["birth_year"]) == (12, 4, 1990)
    assert now["attributes"] == {"tier": "gold", "size": 4}
    assert now["recorded_at"] == NOON
    assert set(done.filled) == {
        "email", "locale", "birth_calendar", "birth_month", "birth_day", "birth_leap_month", "birth_year", "attributes"
    }  # fmt: skip
    assert world.rows("select customer_id, email, replaced_at from customer_history where customer_id = 'a'") == [
        ("a", None, NOON)
    ]


def test_a_customer_that_lacks_nothing_is_not_touched(world):
    world.customer("a", "11-11")
    world.customer("b", "12-04", birth_year=1990)
    assert merge_(world).filled == ()
    now = customer(world, "a")
    assert (now["recorded_at"], now["birth_year"]) == (LONG_AGO, None)  # the year belongs to another birthday
    assert world.rows("select 1 from customer_history where customer_id = 'a'") == []


def test_a_given_value_replaces_one_that_was_worked_out(world):
    world.customer("a", country="CN", timezone="Asia/Shanghai", derived=["country", "timezone"])
    world.customer("b", country="US", timezone="America/New_York", derived=["timezone"])
    merge_(world)
    now = customer(world, "a")
    assert (now["country"], now["timezone"], now["derived"]) == ("US", "Asia/Shanghai", ["timezone"])
    undo(world)
    now = customer(world, "a")
    assert (now["country"], now["derived"]) == ("CN", ["country", "timezone"])


def test_undo_empties_only_what_is_still_what_was_filled(world):
    world.customer("a", email=None, phone=None, attributes={})
    world.customer("b", "12-04", attributes={"size": 4, "colour": "red"})
    merge_(world)
    world.change_customer("a", NOON + HOUR, email="new@example.com", attributes={"size": 5, "colour": "red", "own": 1})
    undone = undo(world)
    now = customer(world, "a")
    assert (now["email"], now["phone"], now["birth_month"]) == ("new@example.com", None, None)
    assert now["attributes"] == {"size": 5, "own": 1}
    assert "email" not in undone.filled and "phone" in undone.filled


# --- consent ---------------------------------------------------------------------------------------------------------

DECISIONS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["email", "sms"]),
        st.sampled_from(["marketing", "transactional"]),
        st.booleans(),
        st.integers(0, 4),
    ),
    max_size=8,
)


def latest(decisions, *ids):
    """(channel, purpose) -> the latest decision; of two at once the one written later."""
    return {
        (channel, purpose): is_granted
        for _, _, channel, purpose, is_granted in sorted(
            (when, n, channel, purpose, is_granted)
            for n, (who, channel, purpose, is_granted, when) in enumerate(decisions)
            if who in ids
        )
    }


def put_consents(conn, decisions):
    for who, channel, purpose, is_granted, when in decisions:
        at = AT - DAY + when * HOUR
        conn.execute(
            insert(metadata.tables["consents"]).values(
                customer_id=who, channel=channel, purpose=purpose, is_granted=is_granted, source="test",
                occurred_at=at, recorded_at=at,
            )
        )  # fmt: skip


def permissions(conn, customer_id, at):
    look_as_of(conn, at)
    found = conn.execute(
        text("select channel, purpose, is_granted from as_of.consents where customer_id = :id"), {"id": customer_id}
    )
    return {(channel, purpose): is_granted for channel, purpose, is_granted in found}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(decisions=DECISIONS)
def test_the_stricter_consent_wins(world, decisions):
    a, b = latest(decisions, "a"), latest(decisions, "b")
    strict = {way: a.get(way, True) and b.get(way, True) for way in a | b}
    with world.engine.connect() as conn:  # rolled back: every example begins with an empty store
        for who in "ab":
            conn.execute(
                insert(metadata.tables["customers"]).values(customer_id=who, occurred_at=LONG_AGO, recorded_at=LONG_AGO)
            )
        put_consents(conn, decisions)
        before = snapshot(conn)
        done = merge.merge_customers(conn, "a", "b", reason="same", actor="ada", now=NOON)
        assert permissions(conn, "a", NOON) == strict
        added = conn.execute(text("select channel, purpose from consents where source = 'merge'")).all()
        both = latest(decisions, "a", "b")
        assert sorted(map(tuple, added)) == sorted(way for way in strict if both[way] and not strict[way])
        assert set(done.tightened) == {
            way for way in strict if not strict[way] and (a.get(way, True) or b.get(way) is True)
        }
        merge.undo_merge(conn, "b", reason="no", actor="ada", now=NOON + HOUR)
        assert snapshot(conn) == before


def test_a_new_grant_after_the_merge_counts(world):
    world.customer("a")
    world.customer("b", consent=())
    world.consent("b", "email", False, AT - 3000 * DAY)  # before the other granted
    assert merge_(world).tightened == (("email", "marketing"),)
    assert world.rows("select is_granted, occurred_at, recorded_at from consents where source = 'merge'") == [
        (False, NOON, NOON)
    ]
    world.consent("a", "email", True, NOON + HOUR)
    with world.engine.begin() as conn:
        assert permissions(conn, "a", NOON)["email", "marketing"] is False
        assert permissions(conn, "a", NOON + HOUR)["email", "marketing"] is True
    undo(world)
    assert world.count("consents", source="merge") == 0
    assert world.count("consents", customer_id="a", channel="email") == 2


def test_the_stricter_choice_wins(world):
    world.customer("a")
    world.customer("b")
    said = [("a", "abroad", True, 1), ("b", "abroad", False, 0), ("b", "profiling", False, 0), ("a", "topic:tips", False, 2),
            ("b", "topic:tips", True, 3), ("b", "topic:news", True, 0)]  # fmt: skip
    for customer_id, subject, is_granted, hours in said:
        at = AT - DAY + hours * HOUR
        world.add(
            "choices", customer_id=customer_id, subject=subject, is_granted=is_granted, source="page", occurred_at=at,
            recorded_at=at,
        )  # fmt: skip
    with world.engine.begin() as conn:
        before = snapshot(conn)
    merge_(world)
    with world.engine.begin() as conn:
        look_as_of(conn, NOON)
        latest_of = (
            "select distinct on (subject) customer_id, subject, is_granted from as_of.choices"
            " order by subject, occurred_at desc"
        )
        found = conn.execute(text(latest_of)).all()
    assert set(map(tuple, found)) == {
        ("a", "abroad", False), ("a", "profiling", False), ("a", "topic:news", True), ("a", "topic:tips", False),
    }  # fmt: skip
    undo(world)
    with world.engine.begin() as conn:
        assert snapshot(conn) == before


@pytest.mark.parametrize("of", [("b",), ("a", "b"), ("a",)])
def test_whom_the_gateway_must_not_reach_stays_so_under_the_kept_id(world, of):
    world.customer("a")
    world.customer("b")
    for customer_id in of:
        world.add(
            "suppressions", channel="webhook", address=customer_id, is_suppressed=True, reason="opted_out",
            occurred_at=AT - DAY, recorded_at=AT - DAY,
        )  # fmt: skip
    with world.engine.begin() as conn:
        before = snapshot(conn)
    merge_(world)
    rows = world.rows("select is_suppressed, reason from suppressions where channel = 'webhook' and address = 'a'")
    assert rows == [(True, "opted_out")]
    undo(world)
    with world.engine.begin() as conn:
        assert snapshot(conn) == before


# --- journeys under way ----------------------------------------------------------------------------------------------


def test_of_two_in_one_journey_exactly_one_goes_on(world):
    world.customer("a", "12-04")
    world.customer("b", "12-05")
    first = enter(world).cohort_id
    second = enter(world, at=AT + DAY).cohort_id
    for cohort_id, late in ((first, timedelta(0)), (second, DAY)):
        plan(world, cohort_id, at=GREETING + late)
        deliver(world, cohort_id, at=GREETING + late)
    done = merge_(world, at=NOON + DAY)
    assert done.ended == (("test", "birthday_care"),)
    assert world.count("enrollments", customer_id="b") == 1
    plan(world, first, "last_day", LAST_DAY)
    plan(world, second, "last_day", LAST_DAY + DAY)
    assert world.decisions("last_day") == {"a": ("send", "sms", None), "b": ("skip", "sms", "merged")}
    cohort.settle(world.engine, second)
    assert undo(world, at=LAST_DAY + DAY).ended == ()  # nothing was left to go on


def test_of_two_in_one_cohort_exactly_one_goes_on(world):
    world.customer("a", "12-04")
    world.customer("b", "12-04")
    cohort_id = enter(world).cohort_id
    assert merge_(world, at=AT + HOUR).ended == (("test", "birthday_care"),)
    plan(world, cohort_id)
    assert world.decisions() == {"a": ("send", "sms", None), "b": ("skip", "sms", "merged")}


def test_what_was_planned_for_the_merged_one_is_withheld(world):
    world.customer("a", "12-04")
    world.customer("b", "12-04")
    cohort_id = enter(world).cohort_id
    plan(world, cohort_id)
    assert {d[0] for d in world.decisions().values()} == {"send"}
    merge_(world, at=GREETING)
    deliver(world, cohort_id)
    assert world.rows(
        "select e.customer_id, o.kind, o.reason from outcomes o join messages using (message_id)"
        " join enrollments e using (enrollment_id) order by 1"
    ) == [("a", "accepted", None), ("b", "withheld", "merged")]
    assert world.count("outbox") == 1
    assert world.rows("select state from coupons order by enrollment_id") == [("issued",), ("given_back",)]


def test_the_reasons_keep_their_published_order(world):
    world.customer("a", "12-04")
    world.customer("b", "12-04")
    cohort_id = enter(world).cohort_id
    merge_(world, at=AT + HOUR)
    cohort.plan(world.engine, cohort_id, "greeting", is_stopped=True, clock=lambda: GREETING)
    assert world.decisions()["b"] == ("skip", "sms", "stopped")
    plan(world, cohort_id, "last_day", LAST_DAY + 10 * DAY)  # long expired
    assert world.decisions("last_day")["b"] == ("skip", "sms", "merged")


def test_the_merged_one_alone_goes_on_under_the_kept_id(world):
    world.customer("a")
    world.customer("b", "12-04")
    cohort_id = enter(world).cohort_id
    plan(world, cohort_id)
    merge_(world, at=GREETING)
    deliver(world, cohort_id)
    plan(world, cohort_id, "last_day", LAST_DAY)
    assert world.decisions() == {"a": ("send", "sms", None)}
    assert world.count("outbox") == 1


def test_who_was_ever_in_a_journey_is_not_carried_again(world):
    world.customer("a", "01-04")
    world.customer("b", "12-04")
    old = shanghai("2026-01-01 06:00")
    enter(world, at=old)
    cohort_id = enter(world).cohort_id
    merge_(world, at=AT + HOUR)
    plan(world, cohort_id)
    assert world.decisions() == {"b": ("skip", "sms", "merged")}


def test_a_test_enrollment_does_not_end_a_live_one(world):
    world.customer("a", "12-04")
    enter(world, example(holdout="0%", live="true"), mode="test")
    world.customer("b", "12-04")
    enter(world, example(holdout="0%", live="true"), mode="live")
    with world.engine.begin() as conn:
        conn.execute(text("delete from enrollments where customer_id = 'a' and mode = 'live'"))
    assert merge_(world, at=AT + HOUR).ended == ()
    assert world.rows("select mode, customer_id from enrollments order by 1") == [("live", "a"), ("test", "a")]


def test_after_the_undo_both_go_on(world):
    world.customer("a", "12-04")
    world.customer("b", "12-04")
    cohort_id = enter(world).cohort_id
    merge_(world, at=AT + HOUR)
    assert undo(world, at=AT + 2 * HOUR).ended == (("test", "birthday_care"),)
    plan(world, cohort_id)
    deliver(world, cohort_id)
    assert world.rows("select count(*) from outbox") == [(2,)]


def test_a_coupon_drawn_meanwhile_goes_back_with_its_journey(world):
    world.customer("a")
    world.customer("b", "12-04")
    cohort_id = enter(world).cohort_id
    merge_(world, at=AT + HOUR)
    plan(world, cohort_id)
    assert world.rows("select customer_id from coupons") == [("a",)]
    assert undo(world).rows["coupons"] == 1
    assert world.rows("select customer_id from coupons") == [("b",)]


# --- no second entry -------------------------------------------------------------------------------------------------

AGAIN = "{window: 3d, reenter_after: 300d}"


def naming(**occurrences):
    """A journey whose audience names these customers for these occurrences."""
    rows = ", ".join(f"('{who}', '{occurrence}')" for who, occurrence in occurrences.items())
    return with_audience(f"select * from (values {rows}) as named (customer_id, occurrence)", entry=AGAIN)


def test_no_second_birthday_within_the_year(world):
    """A year is not over since the merged id's birthday, whose enrollment stays where it was."""
    world.customer("a", "06-04")
    world.customer("b", "12-04")
    enter(world, at=shanghai("2026-06-01 06:00"))
    enter(world, at=AT)
    merge_(world)
    world.change_customer("a", NOON + HOUR, birth_month=4, birth_day=4)
    # birthday:2027, and more than 300 days since a's own
    entered = enter(world, at=shanghai("2027-04-01 06:00"))
    assert (entered.enrolled, entered.refused) == (0, {"reenter_after": 1})
    undo(world, at=shanghai("2027-04-01 12:00"))
    entered = enter(world, at=shanghai("2027-04-02 06:00"))
    assert (entered.enrolled, entered.refused) == (1, {})


def test_an_occurrence_that_the_merged_id_entered_is_no_candidate(world):
    """An occurrence such as `first_order:8831` follows the order to the kept customer."""
    world.customer("a")
    world.customer("b")
    enter(world, naming(a="first_order:1", b="first_order:2"))
    merge_(world)
    entered = enter(world, naming(a="first_order:2"), AT + 400 * DAY)
    assert (entered.enrolled, entered.refused) == (0, {})
    assert enter(world, naming(a="first_order:3"), AT + 401 * DAY).enrolled == 1


def test_a_made_up_moment_before_the_merge_takes_the_person_in_once(world):
    world.customer("a")
    world.customer("b")
    merge_(world)
    assert enter(world, naming(b="x:b", a="x:a")).enrolled == 1
    assert list(world.entered()) == ["a"]


def test_a_moment_before_the_merge_takes_the_merged_one_in_under_the_kept_id(world):
    world.customer("a")
    world.customer("b", "12-04")
    merge_(world)
    cohort_id = enter(world).cohort_id  # of six o'clock, when b was known and a had no birthday
    plan(world, cohort_id)
    assert world.decisions() == {"a": ("send", "sms", None)}


@pytest.mark.parametrize("order", [["bc", "ab"], ["ab", "ac"]])
def test_all_ids_of_a_person_count(world, order):
    for who in "abc":
        world.customer(who)
    enter(world, naming(b="x:b"), AT - 400 * DAY)
    enter(world, naming(c="x:c"), AT - DAY)
    for n, (kept, merged) in enumerate(order):
        merge_(world, kept, merged, AT + n * HOUR)
    # b's came over to a; c's stays under c, for b and then a were in the journey
    assert world.rows("select customer_id, occurrence from enrollments order by 1") == [("a", "x:b"), ("c", "x:c")]
    with world.engine.begin() as conn:
        assert merge.standing_aliases(conn) == {"b": "a", "c": "a"}
    assert enter(world, naming(a="x:new"), AT + DAY).refused == {"reenter_after": 1}
    assert enter(world, naming(a="x:c"), AT + 400 * DAY).refused == {}
    assert world.count("enrollments") == 2
    assert enter(world, naming(a="x:new", c="x:new", b="x:new"), AT + 401 * DAY).enrolled == 1


# --- undo ------------------------------------------------------------------------------------------------------------


def test_a_chain_is_undone_from_its_end(world):
    for who in "abc":
        world.customer(who)
        world.order(f"o-{who}", who, AT - DAY)
    with world.engine.connect() as conn:
        before = snapshot(conn)
    merge_(world, "b", "c", NOON)
    merge_(world, "a", "b", NOON + HOUR)
    assert world.rows("select distinct customer_id from orders") == [("a",)]
    with pytest.raises(
        RetentionError, match=r"merge, undo c: b, under .* merged into a later .*Undo the merge of b first"
    ):
        undo(world, "c")
    undo(world, "b")
    assert world.rows("select order_id, customer_id from orders order by 1") == [
        ("o-a", "a"), ("o-b", "b"), ("o-c", "b"),
    ]  # fmt: skip
    undo(world, "c")
    with world.engine.connect() as conn:
        assert snapshot(conn) == before


def test_undoing_the_earlier_of_two_leaves_the_later_as_if_alone(world):
    """Both went to a: b's e-mail address filled the gap, b's withdrawal closed the channel, b's enrollment came over."""
    version = with_audience(
        "select customer_id, 'x:' || customer_id as occurrence from customers where customer_id <> 'a'"
    )
    world.customer("a", email=None)
    world.customer("b", email="b@example.com", consent=())
    world.customer("c", email="c@example.com")
    world.consent("b", "sms", False, LONG_AGO - DAY)
    enter(world, version)
    merge_(world, "a", "b", NOON)
    assert merge_(world, "a", "c", NOON + HOUR).ended == (("test", "birthday_care"),)
    undone = undo(world, "b")
    assert undone.merged_again == ("c",)
    assert customer(world, "a")["email"] == "c@example.com"
    assert customer(world, "b")["email"] == "b@example.com"
    assert world.rows("select customer_id, occurrence from enrollments order by 2") == [("b", "x:b"), ("a", "x:c")]
    with world.engine.begin() as conn:
        assert permissions(conn, "a", NOON + 2 * DAY)["sms", "marketing"] is True
        assert [(m.kept_id, m.merged_id, m.actor, m.merged_at) for m in merge.fetch_merges(conn)] == [
            ("a", "c", "ada", NOON + DAY)
        ]


def test_what_came_for_the_kept_id_later_stays(world):
    world.customer("a")
    world.customer("b")
    merge_(world)
    world.order("later", "a", NOON + HOUR)
    event(world, "a", "later", NOON + HOUR)
    undo(world)
    assert world.count("orders", customer_id="a") == world.count("events", customer_id="a") == 1
    assert world.count("orders", customer_id="b") == 0


def test_what_came_for_the_merged_id_later_goes_back(world):
    for who in "abc":
        world.customer(who)
    merge_(world, "b", "c", NOON)
    merge_(world, "a", "b", NOON + HOUR)
    world.order("9" * 30, "a", NOON + 2 * HOUR)  # a load stores it under the id that standing_aliases says
    with world.engine.begin() as conn:
        for _ in range(2):
            merge.note_rekeyed(conn, "orders", {"c": ["9" * 30], "nobody": ["o9"]})
        merge.note_rekeyed(conn, "events", {})
        with pytest.raises(ValueError, match="customers: rows of orders, events, consents, choices"):
            merge.note_rekeyed(conn, "customers", {"c": ["c"]})
        # The order is corrected meanwhile: its earlier state is the same order's.
        conn.execute(text("update orders set amount = 1, currency = 'CNY', recorded_at = :at"), {"at": NOON + 3 * HOUR})
    undo(world, "b")
    assert world.rows("select customer_id from orders") == [("b",)]
    undo(world, "c")
    assert world.rows("select customer_id from orders union all select customer_id from order_history") == [("c",)] * 2


def test_a_customer_that_came_again_is_not_overwritten_by_the_undo(world):
    world.customer("a")
    world.customer("b", name="old")
    merge_(world)
    world.customer("b", name="new", since=NOON + HOUR, consent=())
    undo(world)
    assert customer(world, "b")["name"] == "new"


def test_a_place_that_was_taken_meanwhile_does_not_stop_the_undo(world):
    world.customer("a")
    world.customer("b", "12-04")
    refuse(world, enter(world).cohort_id, "b", "birthday:2025")
    merge_(world, at=AT + HOUR)
    with world.engine.begin() as conn:  # an entry that was being written during the merge
        for table in ("enrollments", "entry_refusals"):
            columns = ", ".join(
                c.name for c in metadata.tables[table].c if not c.primary_key and c.name != "customer_id"
            )
            conn.execute(text(f"insert into {table} (customer_id, {columns}) select 'b', {columns} from {table}"))
    undo(world, at=AT + 2 * HOUR)
    for table in ("enrollments", "entry_refusals"):
        assert world.rows(f"select customer_id from {table} order by 1") == [("a",), ("b",)]


def test_merged_undone_and_merged_again(world):
    world.customer("a", email=None)
    world.customer("b")
    world.order("o", "b", AT)
    for at in (NOON, NOON + DAY):
        merge_(world, at=at)
        assert world.rows("select customer_id from orders") == [("a",)]
        undo(world, at=at + HOUR)
        assert world.rows("select customer_id from orders") == [("b",)]
    assert world.count("customer_merges") == 2
    with world.engine.begin() as conn:
        assert merge.fetch_merges(conn) == []


TIMES = st.integers(0, 3)
IDS = st.sampled_from("abc")
OPTIONAL = st.one_of(st.none(), st.sampled_from(["x@example.com", "y@example.com"]))
CUSTOMERS = st.fixed_dictionaries(
    {
        "email": OPTIONAL,
        "name": st.one_of(st.none(), st.sampled_from(["N", "M"])),
        "country": st.one_of(st.none(), st.sampled_from(["CN", "US"])),
        "derived": st.sampled_from([[], ["country"], ["timezone", "country"]]),
        "timezone": st.one_of(st.none(), st.just("Asia/Shanghai")),
        "birthday": st.one_of(st.none(), st.sampled_from([("solar", 5, 6), ("lunar", 5, 6)])),
        "birth_year": st.one_of(st.none(), st.sampled_from([1990, 1991])),
        "attributes": st.dictionaries(st.sampled_from("pq"), st.sampled_from([1, None, "z", {"k": [1.5]}])),
        "recorded": TIMES,
    }
)
ENROLLED = st.sets(st.tuples(IDS, st.sampled_from(["j1", "j2"]), st.sampled_from(MODES), st.integers(1, 2)), max_size=8)
MERGES = st.sampled_from([["ab"], ["ab", "ac"], ["bc", "ab"], ["ca", "bc"]])
FACTS = st.lists(st.tuples(IDS, st.sampled_from(["order", "event", "corrected"]), TIMES), max_size=6)


def put(conn, table, **values):
    return conn.execute(insert(metadata.tables[table]).values(**values).returning(metadata.tables[table])).first()


def put_company(conn, people, enrolled, facts):
    for who, person in zip("abc", people, strict=True):
        calendar, month, day = person["birthday"] or (None, None, None)
        columns = {k: v for k, v in person.items() if k not in ("birthday", "recorded")}
        at = AT + person["recorded"] * HOUR
        put(conn, "customers", customer_id=who, birth_calendar=calendar, birth_month=month, birth_day=day,
            occurred_at=LONG_AGO, recorded_at=at, **columns)  # fmt: skip
    cohorts = {}
    for who, journey, mode, nth in sorted(enrolled):
        if (key := (mode, journey, nth)) not in cohorts:
            version = put(conn, "journey_versions", journey=journey, content_hash=f"{key}", content={}, created_at=AT)
            cohorts[key] = put(conn, "cohorts", mode=mode, journey=journey, cohort_at=AT + nth * HOUR, status="open",
                               version_id=version.version_id, candidates=1, created_at=AT).cohort_id  # fmt: skip
        entry = {"cohort_id": cohorts[key], "mode": mode, "journey": journey, "customer_id": who}
        made = put(conn, "enrollments", occurrence=f"o:{nth}", arm="main", is_eligible=True, entered_at=AT, **entry)
        put(conn, "coupons", code=f"{made.enrollment_id}", mode=mode, enrollment_id=made.enrollment_id, step="s",
            customer_id=who, kind="points", value=1, valid_until=AT, counts_until=AT, state="issued", state_at=AT,
            reserved_at=AT)  # fmt: skip
        put(conn, "entry_refusals", occurrence=f"r:{nth}", reason="backlog", **entry)
    for n, (who, what, when) in enumerate(facts):
        at = AT + when * HOUR
        if what == "event":
            put(conn, "events", customer_id=who, kind="login", occurred_at=at, recorded_at=at)
            continue
        order = put(conn, "orders", order_id=f"{n}", customer_id=who, occurred_at=at, recorded_at=at)
        if what == "corrected":
            change = "update orders set amount = 1, currency = 'CNY', recorded_at = :at where order_id = :id"
            conn.execute(text(change), {"at": at + HOUR, "id": order.order_id})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    people=st.tuples(CUSTOMERS, CUSTOMERS, CUSTOMERS), enrolled=ENROLLED, facts=FACTS, decisions=DECISIONS, pairs=MERGES
)
def test_merged_and_undone_is_as_if_never_merged(world, people, enrolled, facts, decisions, pairs):
    with world.engine.connect() as conn:  # rolled back: every example begins with an empty store
        put_company(conn, people, enrolled, facts)
        put_consents(conn, decisions)
        before = snapshot(conn)
        owners = dict(conn.execute(text("select enrollment_id, customer_id from enrollments")).all())
        now = AT + 2 * HOUR
        for kept, merged in pairs:
            merge.merge_customers(conn, kept, merged, reason="same", actor="ada", now=now)
            now += HOUR
            for table in ("orders", "order_history", "events", "consents", "coupons", "customers"):
                assert not conn.scalar(text(f"select count(*) from {table} where customer_id = :id"), {"id": merged})
        carried = defaultdict(set)
        for enrollment_id, who, journey, mode in conn.execute(
            text("select enrollment_id, customer_id, journey, mode from enrollments")
        ):
            if who not in merge.standing_aliases(conn):
                carried[who, journey, mode].add(owners[enrollment_id])
        assert all(len(whose) == 1 for whose in carried.values())
        for _, merged in reversed(pairs):
            merge.undo_merge(conn, merged, reason="no", actor="ada", now=now)
            now += HOUR
        assert snapshot(conn) == before
        if pairs == ["ab", "ac"]:  # in the order they were made, too: the later is merged anew in between
            for kept, merged in pairs:
                merge.merge_customers(conn, kept, merged, reason="same", actor="ada", now=now)
            for _, merged in pairs:
                merge.undo_merge(conn, merged, reason="no", actor="ada", now=now + HOUR)
            assert snapshot(conn) == before


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "merged", "complaint"),
    [
        ("a", "a", r"^customers merge a a: both are the same id\. Name the id to keep"),
        ("e", "x", r"^customers merge e x: no customer has the id x\. Check the spelling"),
        ("y", "x", r"no customer has the id y or x\."),
        ("d", "d", r"both are the same id"),
        ("d", "b", r"^customers merge d b: b goes on under a already \(since 2026-12-01T.*\)\. Undo that merge first"),
        ("b", "d", r"^customers merge b d: b was itself merged \(since .*\) and goes on under e\. Merge d into e\."),
        ("b", "a", r"a goes on under e already"),
    ],
)
def test_a_merge_that_makes_no_sense_is_refused(world, kept, merged, complaint):
    for who in "abde":
        world.customer(who)
    merge_(world, "a", "b")
    merge_(world, "e", "a")
    with pytest.raises(RetentionError, match=complaint):
        merge_(world, kept, merged)
    assert world.count("customer_merges") == 2


def test_there_is_nothing_to_undo(world):
    world.customer("a")
    world.customer("b")
    with pytest.raises(RetentionError, match=r"^customers merge, undo b: no merge of b stands\."):
        undo(world)
    merge_(world)
    undo(world)
    with pytest.raises(RetentionError, match="no merge of b stands"):
        undo(world)


def test_a_merge_waits_for_a_load(world):
    world.customer("a")
    world.customer("b")
    with world.engine.begin() as conn:
        conn.execute(text("select pg_advisory_xact_lock(hashtext('retention.import'))"))
        with world.engine.connect() as other:
            other.execute(text("set lock_timeout = '200ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                merge.merge_customers(other, "a", "b", reason="same", actor="ada", now=NOON)
