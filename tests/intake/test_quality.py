"""The facts are looked over after every load: each limit to the row, and nothing goes on while they are not fit."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from retention.delivery.channels.base import Provider, Receipt
from retention.errors import ConfigError, DataHeld
from retention.intake.quality import (
    KINDS,
    check_quality,
    fetch_checks,
    fetch_holds,
    find_fit_moment,
    find_hold,
    lift_holds,
)
from retention.intake.quality_findings import judge_volume
from retention.intake.quality_policy import DEFAULTS, Checks, QualityPolicy, load_policy, read_policy
from retention.journey.policy import Policy
from retention.orchestration import cohort
from retention.orchestration.dryrun import dry_run
from tests.world import DAY, INCLUDE, example, shanghai

NOW = shanghai("2026-12-01 09:30")  # a Tuesday
EARLIER = NOW - timedelta(days=40)


def policy(yaml: str = "") -> QualityPolicy:
    if not yaml:
        return QualityPolicy()
    found, document = read_policy("include/quality.yaml", yaml)
    assert found, [str(it) for it in document.problems]
    return found


def only(check: str, rule: str) -> QualityPolicy:
    """This one check with this rule, all others off."""
    lines = [f"  {name}: {rule if name == check else 'false'}" for name in DEFAULTS]
    return policy("\n".join(["checks:", *lines]))


def begin(world, *, source="crm", mapping="crm", is_history=False, at=NOW) -> int:
    world.add(
        "imports", mapping=mapping, source=source, name=f"{mapping}.csv", actor="ada", is_history=is_history,
        state="running", started_at=at,
    )  # fmt: skip
    return world.rows("select max(import_id) from imports")[0][0]


def look(
    world,
    tables=("customers",),
    *,
    rules=None,
    source="crm",
    mapping="crm",
    read=0,
    rejected=0,
    at=NOW,
    is_history=False,
    zone="Asia/Shanghai",
) -> dict:
    """A load of nothing more than what was added before; check -> what it found."""  # fmt: skip
    import_id = begin(world, source=source, mapping=mapping, is_history=is_history, at=at)
    with world.engine.begin() as conn:
        checks = check_quality(
            conn, import_id=import_id, source=source, tables=set(tables), rows_read=read, rows_rejected=rejected,
            policy=rules or policy(), now=at, zone=zone,
        )  # fmt: skip
    return {check.check: check for check in checks}


def many(world, table: str, count: int, at=NOW, **columns) -> None:
    """Rows by SQL expressions over n = 1, 2, ...; of the source crm and learned at `at` unless they say otherwise."""
    values = {
        "recorded_at": f"timestamptz '{at.isoformat()}'",
        "occurred_at": f"timestamptz '{at.isoformat()}'",
    } | columns
    if table in ("customers", "orders"):
        values = {"source": "'crm'"} | values
    if table == "order_items":
        del values["occurred_at"]
    with world.engine.begin() as conn:
        conn.execute(
            text(
                f"insert into {table} ({', '.join(values)}) select {', '.join(values.values())} from generate_series(1, :n) n"
            ),
            {"n": count},
        )


def people(world, count: int, *, start: int = 0, at=NOW, **columns) -> None:
    names = {"customer_id": f"'c' || n + {start}", "email": f"'c' || n + {start} || '@example.com'"}
    many(world, "customers", count, at, **names | columns)


def orders(world, count: int, at=NOW, *, prefix: str = "o", when=None, **columns) -> None:
    placed = f"timestamptz '{(when or at).isoformat()}'"
    many(
        world,
        "orders",
        count,
        at,
        **{"order_id": f"'{prefix}' || n", "customer_id": "'c1'", "occurred_at": placed} | columns,
    )


def holds(world) -> list[tuple]:
    return world.rows('select "check", source from data_holds where lifted_at is null order by hold_id')


def held(world) -> str | None:
    with world.engine.connect() as conn:
        return find_hold(conn)


def accept(world, reason="it is so", actor="ada", at=NOW, source=None) -> int:
    with world.engine.begin() as conn:
        return lift_holds(conn, reason=reason, actor=actor, now=at, source=source)


# --- the limits, to the row ------------------------------------------------------------------------------------------


def rejected(world, bad):
    return look(world, rules=only("rows_rejected", RULE), read=1000, rejected=bad)


def unreachable(world, bad):
    people(
        world, 1000, email=f"case when n > {bad} then 'c' || n || '@example.com' when n % 3 = 0 then 'no address' end"
    )
    return look(world, rules=only("customers_unreachable", RULE))


def sharing(world, bad):
    people(
        world,
        1000,
        email=f"case when n > {bad} then 'c' || n || '@example.com' else 'Shop' || n % 2 || '@EXAMPLE.com' end",
    )
    return look(world, rules=only("customers_sharing_address", RULE))


def sharing_phone(world, bad):
    people(world, 1000, phone=f"case when n > {bad} then '+86138' || 10000000 + n else '+8613800000000' end")
    return look(world, rules=only("customers_sharing_address", RULE))


def impossible_birthdays(world, bad):
    year = f"case when n > {bad} then 1900 + n % 127 when n % 2 = 0 then 1899 else 2027 end"
    people(world, 1000, birth_calendar="'solar'", birth_month="1 + n % 12", birth_day="1 + n % 28", birth_year=year)
    people(world, 500, start=1000)  # of whom no year is known
    return look(world, rules=only("birthdays_impossible", RULE))


def common_birthday(world, bad):
    # Each other day has a single one.
    month = f"case when n <= {bad} then 1 else 2 + n % 11 end"
    day = f"case when n <= {bad} then 1 else 1 + n % 28 end"
    people(world, 1000, birth_calendar="'solar'", birth_month=month, birth_day=day)
    return look(world, rules=only("birthdays_on_one_day", RULE))


def future_orders(world, bad):
    placed = f"timestamptz '{NOW.isoformat()}' + case when n <= {bad} then interval '1 second' else interval '0' end"
    orders(world, 1000, occurred_at=placed)
    return look(world, ["orders"], rules=only("orders_in_future", RULE))


def old_orders(world, bad):
    orders(
        world,
        1000,
        occurred_at=f"timestamptz '1990-01-01Z' - case when n <= {bad} then interval '1 second' else '0' end",
    )
    return look(world, ["orders"], rules=only("orders_too_old", RULE))


def orphaned_orders(world, bad):
    people(world, 1)
    orders(world, 1000, customer_id=f"case when n <= {bad} then 'nobody' else 'c1' end")
    return look(world, ["orders"], rules=only("orders_without_customer", RULE))


def orphaned_items(world, bad):
    orders(world, 1)
    item = {"line": "n", "quantity": "1", "amount": "1", "currency": "'CNY'"}
    many(world, "order_items", 1000, order_id=f"case when n <= {bad} then 'none' else 'o1' end", **item)
    return look(world, ["order_items"], rules=only("items_without_order", RULE))


def future_events(world, bad):
    placed = f"timestamptz '{NOW.isoformat()}' + case when n <= {bad} then interval '1 second' else interval '0' end"
    many(world, "events", 1000, customer_id="'c1'", kind="'view'", occurred_at=placed)
    return look(world, ["events"], rules=only("events_in_future", RULE))


def orphaned_events(world, bad):
    people(world, 1)
    many(world, "events", 1000, customer_id=f"case when n <= {bad} then 'nobody' else 'c1' end", kind="'view'")
    return look(world, ["events"], rules=only("events_without_customer", RULE))


RULE = "{warn: 5%, stop: 10%, min_rows: 1000}"
SHARES = {
    "rows_rejected": rejected,
    "customers_unreachable": unreachable,
    "customers_sharing_address": sharing,
    "customers_sharing_address, by phone": sharing_phone,
    "birthdays_impossible": impossible_birthdays,
    "birthdays_on_one_day": common_birthday,
    "orders_in_future": future_orders,
    "orders_too_old": old_orders,
    "orders_without_customer": orphaned_orders,
    "items_without_order": orphaned_items,
    "events_in_future": future_events,
    "events_without_customer": orphaned_events,
}


@pytest.mark.parametrize(("bad", "verdict"), [(49, "good"), (50, "good"), (51, "warn"), (100, "warn"), (101, "stop")])
@pytest.mark.parametrize("name", SHARES)
def test_each_limit_to_the_row(world, name, bad, verdict):
    check = name.partition(",")[0]
    (found,) = SHARES[name](world, bad).values()
    assert (found.check, found.verdict, found.found) == (check, verdict, Decimal(bad) / 1000)
    limit = "10%" if verdict == "stop" else "5%"
    assert found.limit_text == limit and found.found_text == f"{bad / 10:g}%"
    assert found.detail.startswith(f"{bad / 10:g}%: {bad} of the 1,000 {KINDS[check].noun} ")
    assert holds(world) == ([(check, "crm")] if verdict == "stop" else [])
    stored = world.rows('select "check", verdict, found, "limit", detail, checked_at from quality_checks')
    assert stored == [(check, verdict, found.found, found.limit, found.detail, NOW)]


def test_every_check_has_been_tried_and_has_its_words():
    assert {name.partition(",")[0] for name in SHARES} | {"orders_few", "orders_many"} == set(KINDS) == set(DEFAULTS)
    assert set(Checks.model_fields) == set(KINDS)
    assert all(kind.remedy for kind in KINDS.values())


def test_a_limit_may_be_a_number_of_rows_and_0_means_not_a_single_one(world):
    orders(
        world, 3000, occurred_at=f"timestamptz '{NOW.isoformat()}' + case when n = 7 then interval '1 day' else '0' end"
    )
    rules = only("orders_in_future", "{warn: 0, stop: 1, min_rows: 1}")
    (found,) = look(world, ["orders"], rules=rules).values()
    assert (found.verdict, found.found, found.found_text, found.limit_text) == ("warn", 1, "1", "0")
    (same,) = look(
        world, ["orders"], rules=only("orders_in_future", "{warn: 0.03%, stop: never, min_rows: 1}")
    ).values()
    assert (same.verdict, same.found_text, same.limit_text) == ("warn", "0.04%", "0.03%"), "rounded away from the limit"


def test_too_few_rows_are_not_judged_and_stop_nobody(world):
    people(world, 199, email="null")
    found = look(world, read=99, rejected=99)
    assert {check.verdict for check in found.values()} == {"too_few"} and not holds(world)
    assert found["customers_unreachable"].detail == "too few to judge: 199 customers, fewer than 200"
    people(world, 1, start=199, email="null")
    assert look(world, read=100, rejected=0)["customers_unreachable"].verdict == "stop"


def test_a_load_of_nothing_is_too_few(world):
    everything = {"customers", "orders", "order_items", "events"}
    rules = policy("checks:\n" + "\n".join(f"  {name}: {{min_rows: 0}}" for name in DEFAULTS))
    found = look(world, everything, rules=rules)
    assert {name: check.verdict for name, check in found.items()} == dict.fromkeys(DEFAULTS, "too_few")


def test_only_what_was_loaded_is_looked_at(world):
    assert set(look(world, ["customers"])) == {
        "rows_rejected", "customers_unreachable", "customers_sharing_address", "birthdays_impossible",
        "birthdays_on_one_day",
    }  # fmt: skip
    assert set(look(world, ["products"])) == {"rows_rejected"}
    assert "rows_rejected" not in look(world, rules=policy("checks: {rows_rejected: false}"))
    cdnow = load_policy(INCLUDE)
    assert "customers_unreachable" not in look(world, rules=cdnow, source="cdnow")
    assert "customers_unreachable" in look(world, rules=cdnow, source="crm")


# --- which rows ------------------------------------------------------------------------------------------------------


def test_a_bad_delta_does_not_hide_in_a_large_good_stock(world):
    people(world, 5000, at=EARLIER)
    people(world, 300, start=5000, email="null")
    found = look(world)["customers_unreachable"]
    assert found.verdict == "stop" and found.detail.startswith("100%: 300 of the 300 customers of this load")


def test_a_bad_stock_is_seen_by_a_small_load(world):
    people(world, 300, at=EARLIER, email="null")
    people(world, 5, start=300)
    found = look(world)["customers_unreachable"]
    assert found.verdict == "stop" and "of the 305 customers of crm" in found.detail


def test_other_sources_are_their_own_affair(world):
    people(world, 1000, source="'shop'", email="null")
    people(world, 1000, start=1000)
    assert look(world)["customers_unreachable"].verdict == "good"


def test_rows_of_a_history_count_though_they_were_recorded_long_ago(world):
    people(world, 300, at=EARLIER, email="null")
    found = look(world, is_history=True)["customers_unreachable"]
    assert found.verdict == "stop" and "300 customers of crm" in found.detail
    many(world, "events", 300, at=EARLIER, customer_id="'nobody'", kind="'view'")
    found = look(world, ["events"], is_history=True)["events_without_customer"]
    assert found.verdict == "warn" and "300 events on record" in found.detail


def test_an_address_shared_with_another_source_is_shared(world):
    people(world, 400)
    people(world, 400, source="'shop'", customer_id="'s' || n")
    assert look(world)["customers_sharing_address"].found == 1


def test_a_large_load_of_lines_is_judged_by_a_sample(world):
    orders(world, 1)
    item = {"line": "n", "quantity": "1", "amount": "1", "currency": "'CNY'"}
    many(world, "order_items", 60_000, order_id="case when n % 10 = 0 then 'none' else 'o1' end", **item)
    found = look(world, ["order_items"], read=20_000_000)["items_without_order"]
    assert (
        found.verdict == "warn" and "(a sample)" in found.detail and abs(found.found - Decimal("0.1")) < Decimal("0.02")
    )


# --- a day's volume --------------------------------------------------------------------------------------------------

MONDAY = shanghai("2026-11-30 12:00")


def days(world, counts: dict[int, int], **options) -> None:
    """Orders of each day (0 is Monday 30 November, the last whole one; -1 the day before), at noon in Shanghai."""
    for day, count in counts.items():
        orders(world, count, when=MONDAY + day * DAY, prefix=f"d{day}_", **options)


def volume(world, low="{}", high="{}", **options) -> dict:
    lines = [f"  {name}: false" for name in DEFAULTS if not name.startswith(("orders_few", "orders_many"))]
    rules = policy("\n".join(["checks:", *lines, f"  orders_few: {low}", f"  orders_many: {high}"]))
    return look(world, ["orders"], rules=rules, **options)


@pytest.mark.parametrize(
    ("count", "few", "many_"),
    [(19, "stop", "good"), (20, "warn", "good"), (49, "warn", "good"), (50, "good", "good"), (300, "good", "good"),
     (301, "good", "warn"), (1000, "good", "warn"), (1001, "good", "stop")],
)  # fmt: skip
def test_a_days_volume_to_the_order(world, count, few, many_):
    days(world, {day: 100 for day in range(-28, 0)} | {0: count, 1: 3})
    found = volume(world)
    assert (found["orders_few"].verdict, found["orders_many"].verdict) == (few, many_)
    assert found["orders_few"].found == Decimal(count) / 100
    assert found["orders_few"].detail == (
        f"{count}%: {count:,} orders on Monday 2026-11-30; 100 are usual (median of the 4 Mondays before)"
    )


def test_rounding_changes_no_verdict_of_a_volume():
    day = NOW.date() - DAY
    by_day = {day - n * DAY: 30_001 for n in range(1, 29)}
    for name, count, verdict, shown in (
        ("orders_few", 15_000, "warn", "49.99%"),
        ("orders_few", 15_001, "good", "50%"),
        ("orders_many", 90_003, "good", "300%"),
        ("orders_many", 90_004, "warn", "300.01%"),
    ):
        found = judge_volume(DEFAULTS[name], by_day | {day: count}, day, day, is_low=name == "orders_few")
        assert (found.verdict, found.detail.partition(":")[0]) == (verdict, shown), count


def test_a_weekday_is_compared_with_its_own(world):
    days(world, {day: 100 if day % 7 == 0 else 1000 for day in range(-28, 1)})
    assert volume(world)["orders_few"].found == 1


def test_one_odd_day_is_not_what_is_usual(world):
    days(world, {day: 100 for day in range(-28, 1)} | {-7: 9000})
    assert volume(world)["orders_few"].found == 1


@pytest.mark.parametrize(("known", "verdict"), [(13, "too_few"), (14, "stop"), (20, "stop"), (21, "stop")])
def test_it_takes_two_weeks_to_know_what_is_usual(world, known, verdict):
    days(world, {day: 100 for day in range(-known, 0)})
    found = volume(world)["orders_few"]
    assert found.verdict == verdict
    if verdict == "stop":
        among = "14 days" if known == 14 else "20 days" if known == 20 else "3 Mondays"
        assert found.detail == (
            f"0%: 0 orders on Monday 2026-11-30; 100 are usual (median of the {among} before); "
            "the newest order is of 2026-11-29"
        )


def test_a_small_shops_quiet_day_is_no_news_and_neither_is_its_busy_one(world):
    days(world, {day: 2 for day in range(-28, 0)} | {0: 30})
    found = volume(world)
    assert found["orders_few"].verdict == "too_few" and found["orders_many"].verdict == "good"
    orders(world, 500, when=MONDAY, prefix="flood")
    assert volume(world)["orders_many"].verdict == "stop"


def test_a_day_begins_in_the_shops_zone(world):
    for day in range(-28, 1):
        # 01:00 in Shanghai is still the day before in London.
        orders(world, 50, when=shanghai("2026-11-30 01:00") + day * DAY, prefix=f"d{day}_")
    assert volume(world)["orders_few"].verdict == "good"
    assert volume(world, zone="Europe/London")["orders_few"].verdict == "stop"


def test_a_source_whose_last_whole_day_lies_further_back_says_so(world):
    days(world, {day: 100 for day in range(-28, -1)})
    assert volume(world)["orders_few"].verdict == "stop"
    assert volume(world, low="{days_back: 3}")["orders_few"].verdict == "good"


def test_an_old_history_is_not_compared_with_yesterday(world):
    orders(world, 5000, occurred_at="timestamptz '1997-01-01Z' + n * interval '1 hour'", source="'cdnow'")
    found = look(world, ["orders"], source="cdnow", is_history=True)
    assert (found["orders_few"].verdict, found["orders_many"].verdict) == ("too_few", "too_few")


# --- holds -----------------------------------------------------------------------------------------------------------

LATER = NOW + timedelta(hours=2)


def bad_load(world, **options) -> dict:
    return look(world, rules=only("rows_rejected", "{}"), read=1000, rejected=500, **options)


def good_load(world, **options) -> dict:
    return look(world, rules=only("rows_rejected", "{}"), read=1000, rejected=0, **options)


def audit(world) -> list[tuple]:
    return world.rows("select actor, action from audit_log order by audit_id")


def test_a_hold_says_which_what_since_when_and_what_to_do(world):
    assert held(world) is None
    found = bad_load(world)["rows_rejected"]
    said = held(world)
    assert said.startswith(
        f"data: not fit to go on with: rows_rejected (source crm, load {found.import_id}, since 2026-12-01 01:30 UTC): "
        "50%: 500 of the 1,000 rows read were rejected; the limit is 10%."
    )
    assert 'retention quality --accept "reason"' in said and "load again" in said and "\n" not in said
    assert audit(world) == [("quality", "hold_data")]


def test_one_hold_stands_for_a_check_and_a_source_and_keeps_its_beginning(world):
    bad_load(world)
    look(world, rules=only("rows_rejected", "{}"), read=1000, rejected=700, at=LATER)
    bad_load(world, source="shop")
    assert holds(world) == [("rows_rejected", "crm"), ("rows_rejected", "shop")]
    (reason, placed_at), _ = world.rows("select reason, placed_at from data_holds order by hold_id")
    assert reason.startswith("70%") and placed_at == NOW
    assert "rows_rejected (source crm" in held(world) and "; and rows_rejected (source shop" in held(world)


@pytest.mark.parametrize("bad", [0, 50])
def test_a_load_that_is_good_or_only_warns_lifts_it(world, bad):
    bad_load(world)
    (check,) = look(world, rules=only("rows_rejected", "{}"), read=1000, rejected=bad, at=LATER).values()
    assert check.verdict == ("warn" if bad else "good") and held(world) is None
    lifted = world.rows("select lifted_at, lifted_by, lift_reason from data_holds")
    assert lifted == [(LATER, "quality", f"load {check.import_id}: {check.detail}")]
    assert audit(world) == [("quality", "hold_data"), ("quality", "lift_data_hold")]


def test_other_sources_other_checks_and_too_few_rows_lift_nothing(world):
    bad_load(world)
    good_load(world, source="shop")
    people(world, 300)
    assert look(world, read=99, rejected=0)["customers_unreachable"].verdict == "good"
    assert holds(world) == [("rows_rejected", "crm")]


def test_rejected_rows_of_one_mapping_are_not_mended_by_another(world):
    bad_load(world, mapping="contacts")
    good_load(world, mapping="purchases")
    assert holds(world)
    bad_load(world, mapping="purchases")
    good_load(world, mapping="contacts")
    assert holds(world)
    good_load(world, mapping="purchases")
    assert not holds(world)


def test_a_small_good_load_does_not_clear_a_large_bad_one(world):
    people(world, 20_000, at=EARLIER)
    people(world, 1000, start=20_000, email="null")
    rules = only("customers_unreachable", "{warn: 20%, stop: 60%, min_rows: 200}")
    look(world, rules=rules)
    people(world, 400, start=30_000, at=LATER)
    found = look(world, rules=rules, at=LATER)["customers_unreachable"]
    assert holds(world) and found.detail.startswith(
        "71.43%: 1,000 of the 1,400 customers learned since 2026-12-01 09:30"
    )
    with world.engine.begin() as conn:  # the corrected file changes the rows
        conn.execute(
            text("update customers set email = customer_id || '@example.com', recorded_at = :at where email is null"),
            {"at": LATER + DAY},
        )
    assert look(world, rules=rules, at=LATER + DAY)["customers_unreachable"].verdict == "good" and not holds(world)


def test_customers_that_come_after_their_orders_lift_the_orders_hold(world):
    orders(world, 300, customer_id="'c' || n", source="'shop'")
    look(world, ["orders"], source="shop")
    item = {"line": "n", "quantity": "1", "amount": "1", "currency": "'CNY'"}
    many(world, "order_items", 300, order_id="'p' || n", **item)
    look(world, ["order_items"], source="shop")
    assert holds(world) == [("orders_without_customer", "shop"), ("items_without_order", "shop")]
    people(world, 100, at=LATER)
    look(world, at=LATER)
    assert len(holds(world)) == 2, "a third of them is not enough"
    people(world, 200, start=100, at=LATER)
    look(world, at=LATER)
    assert holds(world) == [("items_without_order", "shop")]
    orders(world, 300, prefix="p", at=LATER)
    look(world, ["orders"], at=LATER)
    assert not holds(world)


def test_a_check_that_is_switched_off_holds_until_the_next_load_of_its_source(world):
    bad_load(world)
    off = policy("checks: {rows_rejected: false}")
    look(world, rules=off, source="shop", read=1000)
    assert holds(world)
    look(world, rules=off, read=1000, rejected=900)
    assert not holds(world)
    assert "switched off" in world.rows("select lift_reason from data_holds")[0][0]


def test_a_person_may_accept_the_facts_of_one_source_or_of_all(world):
    bad_load(world)
    bad_load(world, source="shop")
    assert accept(world, source="shop") == 1 and holds(world) == [("rows_rejected", "crm")]
    bad_load(world, source="shop")
    assert accept(world, reason="a test file") == 2 and held(world) is None and accept(world) == 0
    assert ("ada", "accept_data") in audit(world)
    assert set(world.rows("select lifted_by from data_holds")) == {("ada",)}
    bad_load(world)
    assert held(world), "the next load is judged anew"


def test_the_same_load_looked_over_twice_leaves_one_report(world):
    import_id = begin(world)
    for bad in (500, 0):
        with world.engine.begin() as conn:
            check_quality(
                conn, import_id=import_id, source="crm", tables=set(), rows_read=1000, rows_rejected=bad,
                policy=policy(), now=NOW, zone="Asia/Shanghai",
            )  # fmt: skip
    assert world.rows('select "check", verdict from quality_checks') == [("rows_rejected", "good")] and not holds(world)


def test_a_load_that_is_taken_back_holds_nothing(world):
    import_id = begin(world)
    with world.engine.connect() as conn:
        check_quality(
            conn, import_id=import_id, source="crm", tables=set(), rows_read=1000, rows_rejected=500,
            policy=policy(), now=NOW, zone="Asia/Shanghai",
        )  # fmt: skip
        assert find_hold(conn)
        conn.rollback()
    assert held(world) is None and world.count("quality_checks") == 0


def test_the_reports_are_those_of_the_latest_load_of_each_source(world):
    first = bad_load(world)["rows_rejected"].import_id
    for mapping, source in (("crm", "crm"), ("orders", "crm"), ("shop", "shop")):
        good_load(world, mapping=mapping, source=source)
    with world.engine.connect() as conn:
        latest, old = fetch_checks(conn), fetch_checks(conn, first)
        assert [hold["check"] for hold in fetch_holds(conn)] == []
    assert [(it.source, it.name, it.verdict) for it in latest] == [
        ("crm", "crm.csv", "good"), ("crm", "orders.csv", "good"), ("shop", "shop.csv", "good")
    ]  # fmt: skip
    assert [(it.import_id, it.verdict, it.found_text, it.limit_text) for it in old] == [(first, "stop", "50%", "10%")]
    told = old[0].as_dict()
    assert (told["found"], told["limit"]) == (0.5, 0.1) and f"retention loads {first}" in told["remedy"]


def test_a_report_names_nobody(world):
    people(world, 400, name="'Wang Fang'", email="'wang@example.com'", phone="'+8613812345678'")
    look(world, read=400)
    told = str(world.rows("select detail from quality_checks")) + str(held(world))
    told += str(world.rows("select detail from audit_log"))
    assert "Wang" not in told and "wang" not in told and "138" not in told
    assert "customers_sharing_address" in told


# --- nothing goes on while the data are held, and nothing is lost ----------------------------------------------------

AT = shanghai("2026-12-01 06:00")
GREETING = shanghai("2026-12-01 10:00")


@pytest.fixture
def company(world):
    for i in range(120):
        world.customer(f"c{i:03}", "12-04")
    return world


def enroll(world, at=AT):
    return cohort.enroll(world.engine, example(holdout="0%"), AT, clock=lambda: at).cohort_id


def plan(world, cohort_id, at=GREETING):
    return cohort.plan(world.engine, cohort_id, "greeting", clock=lambda: at)


def deliver(world, cohort_id, at=GREETING):
    return cohort.deliver(world.engine, cohort_id, "greeting", "sms", clock=lambda: at)


def test_nobody_enters_while_data_are_held(company):
    bad_load(company)
    with pytest.raises(DataHeld, match="rows_rejected"):
        enroll(company)
    assert company.count("cohorts") == 0
    accept(company)
    enroll(company)
    assert company.count("enrollments") == 120


def test_nothing_is_planned_or_handed_over_while_data_are_held(company):
    cohort_id = enroll(company)
    bad_load(company, at=AT)
    with pytest.raises(DataHeld):
        plan(company, cohort_id)
    assert company.count("messages") == company.count("coupons") == 0
    good_load(company, at=AT)
    plan(company, cohort_id)
    bad_load(company)
    for _ in range(2):
        with pytest.raises(DataHeld):
            deliver(company, cohort_id)
    assert company.count("outbox") == company.count("outcomes") == 0
    assert set(company.rows("select state from batches")) == {("ready",)}
    good_load(company)
    deliver(company, cohort_id)
    assert company.count("outbox") == 120


def test_while_data_are_held_nothing_is_even_begun(company, monkeypatch):
    cohort_id = enroll(company)
    plan(company, cohort_id)
    bad_load(company)
    for work in ("enter_cohort", "plan_step", "deliver_step"):
        monkeypatch.setattr(cohort, work, lambda *_, **__: pytest.fail("it began"))
    for act in (enroll, lambda world: plan(world, cohort_id), lambda world: deliver(world, cohort_id)):
        with pytest.raises(DataHeld):
            act(company)


def test_settling_goes_on_while_data_are_held(company):
    cohort_id = enroll(company)
    for step, at in (("greeting", GREETING), ("last_day", GREETING + 6 * DAY)):
        cohort.plan(company.engine, cohort_id, step, clock=lambda at=at: at)
        for channel in ("sms", "email"):
            cohort.deliver(company.engine, cohort_id, step, channel, clock=lambda at=at: at)
    bad_load(company)
    cohort.settle(company.engine, cohort_id, clock=lambda: NOW)
    assert company.rows("select status from cohorts") == [("settled",)]


class HoldsInTheMiddle(Provider):
    """Accepts, and while it is at its first request a bad load ends."""

    name = "faulty"

    def __init__(self, world):
        self.world, self.reached = world, []

    def hand_over(self, letters, gate, receive):
        if not self.reached:
            bad_load(self.world)
        for letter in letters:
            self.reached.append(letter.message_id)
            receive(Receipt(letter.message_id, "accepted"))


def test_a_hold_in_mid_delivery_ends_it_before_the_next_batch(company, monkeypatch):
    cohort_id = enroll(company)
    plan(company, cohort_id)
    provider = HoldsInTheMiddle(company)
    monkeypatch.setattr(cohort, "choose_provider", lambda *_, **__: provider)
    with pytest.raises(DataHeld):
        deliver(company, cohort_id)
    assert len(provider.reached) == 50  # the request under way ends; the next one does not begin
    states = company.rows("select state, attempts from batches order by ordinal")
    assert states == [("done", 1), ("ready", 0), ("ready", 0)]
    assert company.rows("select kind, count(*) from outcomes group by 1") == [("accepted", 50)]
    good_load(company, at=LATER)
    deliver(company, cohort_id)
    assert len(provider.reached) == len(set(provider.reached)) == 120
    assert company.rows("select kind, count(*) from outcomes group by 1") == [("accepted", 120)]


def test_what_was_withheld_on_data_that_turn_out_bad_is_not_withheld(company, monkeypatch):
    """The last check reads new facts, and the hold on them is placed with them: it counts before the batch does."""
    from retention.delivery.batch_worker import BatchWorker

    cohort_id = enroll(company)
    plan(company, cohort_id)
    withhold = BatchWorker._withhold

    def load_first(self, *rest):
        if held(company) is None:
            for i in range(120):
                company.consent(f"c{i:03}", "sms", False, GREETING)
            bad_load(company, at=GREETING)
        return withhold(self, *rest)

    monkeypatch.setattr(BatchWorker, "_withhold", load_first)
    with pytest.raises(DataHeld):
        deliver(company, cohort_id)
    assert company.count("outcomes") == 0 and set(company.rows("select state from batches")) == {("ready",)}


@pytest.mark.parametrize("work", ["enter_cohort", "plan_step"])
def test_what_was_decided_on_data_that_came_in_meanwhile_is_taken_back(company, monkeypatch, work):
    cohort_id = enroll(company) if work == "plan_step" else None
    done = getattr(cohort, work)

    def load_meanwhile(*args, **options):
        result = done(*args, **options)
        bad_load(company)
        return result

    monkeypatch.setattr(cohort, work, load_meanwhile)
    with pytest.raises(DataHeld):
        plan(company, cohort_id) if cohort_id else enroll(company)
    assert company.count("messages") == 0 and company.count("enrollments") == (120 if cohort_id else 0)


def test_expiry_still_counts_after_a_hold(company):
    cohort_id = enroll(company)
    plan(company, cohort_id)
    bad_load(company)
    accept(company, at=GREETING + 2 * DAY)
    deliver(company, cohort_id, GREETING + 2 * DAY)
    assert company.rows("select distinct reason from outcomes") == [("expired",)]


def test_a_step_that_was_due_under_a_hold_is_decided_and_written_on_what_was_known_after_it(company):
    cohort_id = enroll(company)
    bad = shanghai("2026-12-01 09:00")
    company.change_customer("c000", bad, name="??", phone=None)
    company.consent("c001", "sms", False, bad)
    company.consent("c001", "email", False, bad)
    bad_load(company, at=bad)
    mended = shanghai("2026-12-01 11:00")
    company.change_customer("c000", mended, name="李雷", phone="+8613812345678")
    company.consent("c001", "sms", True, mended)
    company.consent("c001", "email", True, mended)
    good_load(company, at=mended)
    plan(company, cohort_id, mended)
    deliver(company, cohort_id, mended)
    assert company.decisions("greeting")["c000"] == company.decisions("greeting")["c001"] == ("send", "sms", None)
    ((said,),) = company.rows("select text from outbox where address = '+8613812345678'")
    assert "李雷" in said and "??" not in said


def test_what_was_known_under_a_hold_is_skipped_over_chains_of_holds(world):
    for source, since, until in (("a", 0, 5), ("b", 4, 9), ("c", 20, 22)):
        bad_load(world, source=source, at=NOW + since * DAY)
        accept(world, source=source, at=NOW + until * DAY)
    with world.engine.connect() as conn:
        found = {day: (find_fit_moment(conn, NOW + day * DAY) - NOW) // DAY for day in (-1, 0, 3, 8, 9, 21, 22, 30)}
    assert found == {-1: -1, 0: 9, 3: 9, 8: 9, 9: 9, 21: 22, 22: 22, 30: 30}


def test_a_cohort_of_a_moment_under_a_hold_enters_on_what_was_known_after_it(world):
    world.customer("ada", "12-04")
    bad = AT - timedelta(hours=1)
    world.change_customer("ada", bad, birth_month=7)
    bad_load(world, at=bad)
    world.change_customer("ada", AT + timedelta(hours=5), birth_month=12)
    good_load(world, at=AT + timedelta(hours=5))
    enroll(world, AT + timedelta(hours=5))
    assert world.entered().keys() == {"ada"}


def test_a_dry_run_shows_the_hold_and_does_not_refuse(company):
    def look_ahead():
        return dry_run(company.engine, example(holdout="0%"), AT, policy=Policy(), now=AT)

    assert look_ahead().as_dict()["data_hold"] is None
    bad_load(company)
    shown = look_ahead()
    assert shown.entered.enrolled == 120 and shown.data_hold == shown.as_dict()["data_hold"] == held(company)


# --- include/quality.yaml --------------------------------------------------------------------------------------------


def test_the_shipped_file_says_what_holds_without_it(tmp_path):
    shipped_policy, without = load_policy(INCLUDE), load_policy(tmp_path)
    for check, rule in DEFAULTS.items():
        assert shipped_policy.rule(check, "any") == without.rule(check, "any") == rule, check
    assert set(shipped_policy.checks.model_fields_set) == set(DEFAULTS), "it lists every check"


def test_what_is_left_out_stays_as_it_is():
    rules = policy("checks: {rows_rejected: {stop: 20%}}\nsources:\n  - source: crm\n    rows_rejected: {warn: never}")
    other, crm = rules.rule("rows_rejected", "shop"), rules.rule("rows_rejected", "crm")
    assert (str(other.warn), str(other.stop), other.min_rows) == ("1%", "20%", 100)
    assert (crm.warn, str(crm.stop), crm.min_rows) == (None, "20%", 100)
    again = policy("checks: {rows_rejected: false}\nsources:\n  - source: crm\n    rows_rejected: {stop: 50%}")
    assert again.rule("rows_rejected", "shop") is None and str(again.rule("rows_rejected", "crm").stop) == "50%"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("checks:\n  rows_rejectd: {}", '2: checks: unknown key "rows_rejectd". Did you mean "rows_rejected"?'),
        ("checks:\n  rows_rejected:\n", "2: checks.rows_rejected: nothing is written here. Write a value, or delete the line."),
        ("checks: {rows_rejected: 5%}", '1: checks.rows_rejected: "5%" is not a group of keys. Write keys under it: min_rows, stop, warn.'),
        ("checks: {rows_rejected: {stop: 500%}}", '1: checks.rows_rejected.stop: "500%" is more than all of them. Write at most 100%, or never.'),
        ("checks: {rows_rejected: {stop: 5.5}}", '1: checks.rows_rejected.stop: 5.5 is no limit. Did you mean "5.5%"? Write a percentage such as 5%, or never.'),
        ("checks: {rows_rejected: {stop: -1}}", "1: checks.rows_rejected.stop: -1 is negative. Write 0 if a single one is too many."),
        ("checks: {rows_rejected: {stop: true}}", "1: checks.rows_rejected.stop: true is no limit. Write a percentage such as 5%, or never."),
        ("checks: {orders_few: {stop: 20}}", '1: checks.orders_few.stop: 20 is no limit. Did you mean "20%"? Write a percentage such as 5%, or never.'),
        ("checks: {orders_few: {days_back: 0}}", "1: checks.orders_few.days_back: 0 is no number of days. Write 1 for yesterday, up to 31."),
        ("checks: {rows_rejected: {min_rows: some}}", '1: checks.rows_rejected.min_rows: "some" is no number of rows. Write a whole number, 0 or more.'),
        ("checks:\n  rows_rejected:\n    warn: 10%\n    stop: 5%", "3: checks.rows_rejected.warn: 10% is beyond stop, 5%: it would never warn. Write less than 5%, or never."),
        ("checks: {orders_few: {warn: 10%, stop: 20%}}", "1: checks.orders_few.warn: 10% is beyond stop, 20%: it would never warn. Write more than 20%, or never."),
        ("rows_rejected: false", '1: unknown key "rows_rejected". It belongs under checks.'),
        ("sources:\n  - rows_rejected: false", '2: sources[0]: the key "source" is missing. It says: The source, as its mapping names it.'),
        ("sources:\n  - source: a\n  - source: a", '3: the source "a" stands twice. Keep one of them.'),
        ("", "1: the file is empty. Write a policy in it, or delete it."),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_what_to_do(tmp_path: Path, said, problem):
    (tmp_path / "quality.yaml").write_text(said, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_policy(tmp_path)
    assert str(error.value) == f"include/quality.yaml:{problem}"


def test_any_text_is_read_or_refused_with_a_line():
    for said in (
        "- a",
        "checks: [1]",
        "checks: {x: {y: {z: 1}}}",
        "\x00",
        "checks: &a {rows_rejected: *a}",
        "sources: {}",
    ):
        found, document = read_policy("include/quality.yaml", said)
        assert found is None and all(problem.line >= 1 and problem.what for problem in document.problems), said


def test_the_moment_may_be_in_any_zone(world):
    people(world, 300, at=NOW.astimezone(UTC), email="null")
    assert look(world, at=NOW.astimezone(UTC))["customers_unreachable"].verdict == "stop"
    assert isinstance(world.rows("select placed_at from data_holds")[0][0], datetime)


# --- with the importer -----------------------------------------------------------------------------------------------

CONTACTS = """
mapping: m
source: crm
rows:
  - into: customers
    customer_id: id
    email: email
"""


def test_a_real_load_is_looked_over_held_and_let_go_by_the_corrected_file(bring, world):
    def write(email):
        return "id,email\n" + "\n".join(f"c{n},{email(n)}" for n in range(300))

    bad = bring(write(lambda n: ""), CONTACTS)
    assert {check.check: check.verdict for check in bad.checks}["customers_unreachable"] == "stop"
    assert "100%: 300 of the 300 customers of this load" in held(world)
    good = bring(write(lambda n: f"c{n}@example.com"), CONTACTS, at=datetime(2026, 11, 24, tzinfo=UTC))
    assert {check.check: check.verdict for check in good.checks}["customers_unreachable"] == "good"
    assert held(world) is None


def test_a_trial_load_says_what_it_found_and_holds_nothing(bring, world):
    tried = bring("id,email\n" + "\n".join(f"c{n}," for n in range(300)), CONTACTS, is_trial=True)
    assert "stop" in {check.verdict for check in tried.checks}
    assert held(world) is None and world.count("quality_checks") == 0
