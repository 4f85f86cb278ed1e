"""What a load does to facts that are there: new, corrected, older, gone, as history; permissions; the record of it."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from retention.errors import IntakeError
from retention.intake.loaded import Counts
from retention.intake.merge import merge_customers, undo_merge
from retention.store.queries import look_as_of
from tests.intake.conftest import NOW
from tests.world import World

CUSTOMERS = """
mapping: m
source: crm
country: CN
rows:
  - into: customers
    customer_id: id
    name: name
    email: email
    phone: phone
    birthday: born
    occurred_at: at
    gone: {column: gone, default: false}
    attributes: {tier: tier}
"""
HEAD = "id,name,email,phone,born,tier,at,gone\n"

ORDERS = """
mapping: o
source: shop
rows:
  - into: orders
    order_id: id
    customer_id: customer
    occurred_at: at
    amount: amount
    currency: {value: CNY}
"""

CONSENTS = """
mapping: c
source: crm
rows:
  - into: consents
    customer_id: id
    channel: {value: email}
    is_granted: optin
"""


@pytest.fixture
def world(engine):
    return World(engine)


def seen(engine, moment, columns="customer_id, name", table="customers"):
    with engine.connect() as conn:
        look_as_of(conn, moment)
        return [tuple(row) for row in conn.execute(text(f"select {columns} from as_of.{table} order by 1, 2"))]


def test_a_correction_keeps_what_was(bring, engine, world):
    bring(HEAD + "1,Ann,ann@example.com,13800138000,1990-12-28,gold,2026-01-01,\n", CUSTOMERS)
    later = NOW + timedelta(days=1)
    loaded = bring(HEAD + "1,Anna,ann@example.com,13800138000,1990-12-28,,2026-02-01,\n", CUSTOMERS, at=later)
    assert loaded.tables["customers"] == Counts(changed=1)
    assert world.rows("select name, attributes from customers") == [("Anna", {})]
    assert world.rows("select name, attributes, replaced_at from customer_history") == [
        ("Ann", {"tier": "gold"}, later)
    ]
    assert seen(engine, NOW) == [("1", "Ann")] and seen(engine, later) == [("1", "Anna")]


def test_an_older_export_does_not_overwrite_a_newer_one(bring, world):
    bring(HEAD + "1,Anna,,,,,2026-02-01,\n", CUSTOMERS)
    loaded = bring(HEAD + "1,Ann,,,,,2026-01-01,\n", CUSTOMERS)
    assert loaded.tables["customers"] == Counts(older=1)
    assert world.rows("select name from customers") == [("Anna",)]


def test_columns_that_are_not_mapped_stay(bring, world):
    bring(HEAD + "1,Ann,ann@example.com,13800138000,12-28,gold,2026-01-01,\n", CUSTOMERS)
    only_names = "mapping: n\nsource: crm\nrows:\n  - {into: customers, customer_id: id, name: name}\n"
    loaded = bring("id,name\n1,Anna\n", only_names)
    assert loaded.tables["customers"] == Counts(changed=1)
    assert world.rows("select name, email, birth_month, birth_day, attributes, country, derived from customers") == [
        ("Anna", "ann@example.com", 12, 28, {"tier": "gold"}, "CN", ["country", "timezone"])
    ]


def test_what_we_worked_out_gives_way_to_a_sources_word(bring, world):
    bring(HEAD + "1,Ann,,+1 202 555 0123,,,2026-01-01,\n", CUSTOMERS)
    assert world.rows("select country, timezone, derived from customers") == [
        ("US", "America/New_York", ["country", "timezone"])
    ]
    given = "mapping: n\nsource: crm\nrows:\n  - {into: customers, customer_id: id, country: country}\n"
    bring("id,country\n1,CA\n", given)
    assert world.rows("select country, derived from customers") == [("CA", ["timezone"])]
    # ... and never the other way round.
    bring(HEAD + "1,Ann,,+1 202 555 0123,,,2026-03-01,\n", CUSTOMERS)
    assert world.rows("select country, derived from customers") == [("CA", ["timezone"])]


def test_deleted_at_the_source(bring, engine, world):
    bring(HEAD + "1,Ann,,,,,2026-01-01,\n2,Ben,,,,,2026-01-01,\n", CUSTOMERS)
    later = NOW + timedelta(days=1)
    loaded = bring(HEAD + "1,Ann,,,,,2026-02-01,true\n2,Ben,,,,,2026-01-01,\n", CUSTOMERS, at=later)
    assert loaded.tables["customers"] == Counts(gone=1, same=1)
    assert seen(engine, NOW) == [("1", "Ann"), ("2", "Ben")] and seen(engine, later) == [("2", "Ben")]
    # Back again: a customer anew, the time between stays empty.
    back = later + timedelta(days=1)
    assert bring(HEAD + "1,Ann,,,,,2026-03-01,\n", CUSTOMERS, at=back).tables["customers"] == Counts(new=1)
    assert seen(engine, later) == [("2", "Ben")] and seen(engine, back) == [("1", "Ann"), ("2", "Ben")]


def test_a_complete_list_takes_away_what_it_lacks_but_only_of_its_own_source(bring, world):
    rows = "".join(f"o{n},c{n % 7},2026-01-01,5\n" for n in range(100))
    bring("id,customer,at,amount\n" + rows, ORDERS)
    bring("id,customer,at,amount\nother,c1,2026-01-01,5\n", ORDERS.replace("source: shop", "source: till"))
    short = "id,customer,at,amount\n" + "".join(rows.splitlines(True)[3:])
    loaded = bring(short, ORDERS, at=NOW + timedelta(days=1), is_complete=True)
    assert loaded.tables["orders"] == Counts(same=97, gone=3)
    assert world.count("orders") == 98 and world.count("order_history") == 3
    with pytest.raises(IntakeError, match="87 of 97 orders would be gone.*--most-gone"):
        bring("id,customer,at,amount\n" + "".join(rows.splitlines(True)[90:]), ORDERS, is_complete=True)
    assert world.count("orders") == 98
    [state] = world.rows("select state from imports order by import_id desc limit 1")
    assert state == ("failed",)


def test_history_is_known_since_it_happened(bring, engine, world):
    rows = "1,Ann,,,,,2025-01-01,\n1,Anna,,,,,2025-06-01,\n1,Anna,,,,,2025-07-01,\n1,Ann,,,,,2025-09-01,\n"
    loaded = bring(HEAD + rows, CUSTOMERS, is_history=True)
    assert loaded.tables["customers"] == Counts(new=1, repeated=3) and loaded.cells_left_out == 0
    days = {"2024-12-31": [], "2025-02-01": [("1", "Ann")], "2025-08-01": [("1", "Anna")], "2025-10-01": [("1", "Ann")]}
    from tests.world import shanghai

    assert {day: seen(engine, shanghai(f"{day} 12:00")) for day in days} == days
    assert bring(HEAD + rows, CUSTOMERS, is_history=True).tables["customers"] == Counts(same=1, repeated=3)
    # Without it the same file is known since now.
    world.rows("select 1")
    bring("id,customer,at,amount\no1,1,2025-01-01,5\n", ORDERS)
    assert seen(engine, shanghai("2025-08-01 12:00"), "order_id, customer_id", "orders") == []
    assert seen(engine, NOW, "order_id, customer_id", "orders") == [("o1", "1")]


def test_history_needs_a_time(bring):
    with pytest.raises(IntakeError, match=r"m.yaml:4: --as-history: customers has no occurred_at.*2017-01-01"):
        bring("id\n1\n", "mapping: n\nsource: crm\nrows:\n  - {into: customers, customer_id: id}\n", is_history=True)


def test_a_corrected_order_is_seen_as_it_was_known(bring, engine, world):
    bring("id,customer,at,amount\no1,1,2026-01-01,50\n", ORDERS)
    later = NOW + timedelta(days=1)
    loaded = bring("id,customer,at,amount\no1,1,2026-01-01,40\n", ORDERS, at=later)
    assert loaded.tables["orders"] == Counts(changed=1)
    assert seen(engine, NOW, "order_id, amount", "orders") == [("o1", 50)]
    assert seen(engine, later, "order_id, amount, status", "orders") == [("o1", 40, "placed")]


def test_rows_that_contradict_each_other_are_told(bring, world):
    loaded = bring("id,customer,at,amount\no1,1,2026-01-01,50\no1,2,2026-01-01,50\no1,2,2026-01-01,50\n", ORDERS)
    assert loaded.tables["orders"] == Counts(new=1, repeated=2) and loaded.cells_left_out == 1
    assert world.rows("select customer_id from orders") == [("2",)]
    assert world.rows("select line, level, raw from rejected_rows") == [(2, "cell", "o1")]


@pytest.mark.parametrize(
    ("before", "says", "granted"),
    [
        (None, "yes", True),
        (None, "no", False),
        (("crm", True), "no", False),
        (("crm", False), "yes", True),  # the CRM's own earlier word
        (("page", False), "yes", False),  # the customer said no to us: a CRM that does not know yet changes nothing
        (("page", True), "no", False),
        (("page", True), "yes", True),
    ],
)
def test_of_two_views_of_a_permission_the_stricter_wins(bring, world, before, says, granted):
    if before:
        world.add(
            "consents", customer_id="1", channel="email", purpose="marketing", is_granted=before[1], source=before[0],
            occurred_at=NOW - timedelta(days=9), recorded_at=NOW - timedelta(days=9),
        )  # fmt: skip
    bring(f"id,optin\n1,{says}\n", CONSENTS)
    count = world.count("consents")
    assert world.rows("select is_granted from consents order by occurred_at desc limit 1") == [(granted,)]
    bring(f"id,optin\n1,{says}\n", CONSENTS, at=NOW + timedelta(days=1))
    assert world.count("consents") == count


@pytest.mark.parametrize("when", ["", "    occurred_at: at\n"])
def test_the_wording_of_a_permission_may_be_told_later(bring, world, when):
    dated = CONSENTS + when
    bring("id,optin,at\n1,yes,2026-01-01\n", dated)
    told = dated + '    wording: {value: "I agree to letters."}\n'
    for days in (1, 2):
        bring("id,optin,at\n1,yes,2026-01-01\n", told, at=NOW + timedelta(days=days))
    bring("id,optin,at\n1,yes,2026-01-01\n", dated, at=NOW + timedelta(days=3))
    assert world.rows("select is_granted, wording from consents order by consent_id") == [
        (True, None),
        (True, "I agree to letters."),
    ]


@pytest.mark.parametrize("when", ["", "    occurred_at: at\n"])
def test_choices_come_in_and_the_stricter_side_wins(bring, world, when):
    mapping = (
        "mapping: c\nsource: crm\nrows:\n  - into: choices\n    customer_id: id\n    subject: subject\n"
        "    is_granted: said\n    wording: words\n" + when
    )
    head = "id,subject,said,words,at\n"
    loaded = bring(
        head + "1,abroad,yes,I agree,2026-01-01\n1,profiling,no,,2026-01-01\n2,topics,yes,,2026-01-01\n", mapping
    )
    assert loaded.tables["choices"] == Counts(new=2) and loaded.rows_rejected == 1
    world.add(
        "choices", customer_id="1", subject="abroad", is_granted=False, source="page", occurred_at=NOW, recorded_at=NOW
    )  # fmt: skip
    later = NOW + timedelta(days=1)
    assert bring(head + "1,abroad,yes,I agree,2026-01-01\n", mapping, at=later).tables["choices"] == Counts(same=1)
    assert world.rows("select subject, is_granted, wording from choices order by choice_id") == [
        ("abroad", True, "I agree"), ("profiling", False, None), ("abroad", False, None),
    ]  # fmt: skip


def test_a_state_of_an_order_without_a_time_is_news_only_once(bring, engine, world):
    mapping = "mapping: s\nsource: shop\nrows:\n  - {into: order_status, order_id: id, status: status}\n"
    assert bring("id,status\n1,placed\n2,paid\n", mapping).tables["order_status"] == Counts(new=1, same=1)
    later = NOW + timedelta(days=1)
    loaded = bring("id,status\n1,placed\n2,refunded\n", mapping, at=later)
    assert loaded.tables["order_status"] == Counts(new=1, same=1)
    assert world.rows("select status, occurred_at from order_status where order_id = '2' order by 2") == [
        ("paid", NOW), ("refunded", later),
    ]  # fmt: skip


def test_events_come_once(bring, world):
    mapping = (
        "mapping: e\nsource: app\nrows:\n  - {into: events, customer_id: id, kind: {column: what, map: {signed in: login}},"
        " occurred_at: at, data: {device: device}}\n"
    )
    rows = "id,what,at,device\n1,signed in,2026-01-01 10:00:00,app\n1,signed in,2026-01-01 10:00:00,app\n"
    rows += "1,signed in,2026-01-01 10:00:00,web\n1,jumped,2026-01-01 10:00:00,web\n"
    loaded = bring(rows, mapping)
    assert loaded.tables["events"] == Counts(new=2, repeated=1) and loaded.rows_rejected == 1
    assert bring(rows, mapping).tables["events"] == Counts(same=2, repeated=1)
    assert world.rows("select distinct data ->> 'device' from events order by 1") == [("app",), ("web",)]


def test_a_list_of_addresses_that_must_not_be_used(bring, world):
    mapping = "mapping: x\nsource: old\nrows:\n  - {into: suppressions, channel: {value: email}, address: mail}\n"
    loaded = bring("mail\nA@Example.com\nnone\n+8613800138000\n", mapping)
    assert loaded.tables["suppressions"] == Counts(new=1) and loaded.rows_rejected == 2
    assert "address: not an address of its channel" in loaded.reasons
    assert world.rows("select address, is_suppressed, reason from suppressions") == [
        ("a@example.com", True, "imported")
    ]
    assert bring("mail\na@example.com\n", mapping).tables["suppressions"] == Counts(same=1)


def test_each_channel_has_its_own_kind_of_address(bring, world):
    mapping = "mapping: x\nsource: old\nrows:\n  - {into: suppressions, channel: way, address: who}\n"
    rows = "webhook,12345\nwebhook,C-9\nwebhook,a@b.example.com\nwhatsapp,+8613800138000\nsms,+8613800138000\n"
    loaded = bring(f"way,who\n{rows}whatsapp,a@b.example.com\nwhatsapp,C-9\nemail,C-9\nwebhook,1.2E+12\n", mapping)
    assert loaded.tables["suppressions"] == Counts(new=5) and loaded.rows_rejected == 4
    assert world.rows("select channel, address from suppressions order by 1, 2") == [
        ("sms", "+8613800138000"), ("webhook", "12345"), ("webhook", "C-9"), ("webhook", "a@b.example.com"),
        ("whatsapp", "+8613800138000"),
    ]  # fmt: skip


def test_rows_of_a_merged_customer_go_where_the_person_went(bring, engine, world):
    bring(HEAD + "1,Ann,,,,,2026-01-01,\n2,Ann,ann@example.com,,,,2026-01-01,\n", CUSTOMERS)
    with engine.begin() as conn:
        merge_customers(conn, "1", "2", reason="one person", actor="test", now=NOW)
    loaded = bring(
        HEAD + "1,Ann,,,,,2026-02-01,\n2,Annie,a2@example.com,,,,2026-02-01,\n", CUSTOMERS, at=NOW + timedelta(1)
    )
    assert loaded.tables["customers"].merged == 1
    bring("id,customer,at,amount\no1,2,2026-03-01,5\n", ORDERS, at=NOW + timedelta(1))
    assert world.rows("select customer_id from orders") == [("1",)]
    assert world.rows("select customer_id from customers") == [("1",)]
    with engine.begin() as conn:
        undo_merge(conn, "2", reason="two after all", actor="test", now=NOW + timedelta(2))
    assert world.rows("select customer_id from orders") == [("2",)]
    assert bring("id,customer,at,amount\no1,2,2026-03-01,5\n", ORDERS).tables["orders"] == Counts(same=1)


def test_a_trial_keeps_nothing(bring, world):
    loaded = bring("id,customer,at,amount\no1,2,2026-03-01,5\no2,2,never,5\n", ORDERS, is_trial=True)
    assert loaded.tables["orders"] == Counts(new=1) and loaded.rows_rejected == 1
    assert [reject.line for reject in loaded.examples] == [3]
    assert [world.count(table) for table in ("orders", "imports", "rejected_rows", "audit_log")] == [0, 0, 0, 0]


def test_a_missing_column_is_named_and_nothing_is_loaded(bring, world):
    with pytest.raises(
        IntakeError, match='there is no column "customer", which the mapping o needs. Did you mean "customr"'
    ):
        bring("id,customr,at,amount\no1,2,2026-03-01,5\n", ORDERS)
    assert world.count("orders") == 0
    assert [state for (state,) in world.rows("select state from imports")] == ["failed"]


def test_the_record_of_a_load(bring, world):
    bring("id,customer,at,amount\no1,2,2026-03-01,5\no2,2,never,5\n", ORDERS)
    rows = "select state, rows_read, rows_rejected, summary from imports"
    [(state, read, rejected, summary)] = world.rows(rows)
    assert (state, read, rejected) == ("done", 2, 1)
    assert summary["tables"]["orders"]["new"] == 1 and list(summary["reasons"].values()) == [1]
    [(line, column, reason, raw)] = world.rows('select line, "column", reason, raw from rejected_rows')
    assert (line, column, raw) == (3, "at", "o2,2,never,5") and reason.startswith("occurred_at: not a date")
    [(actor, action)] = world.rows("select actor, action from audit_log")
    assert (actor, action) == ("test", "load")


def test_a_customer_corrected_today_was_one_before(bring, engine):
    bring(HEAD + "1,Ann,,,,,2026-01-01,\n", CUSTOMERS)
    bring(HEAD + "1,Anna,,,,,2026-11-24,\n", CUSTOMERS, at=NOW + timedelta(days=2))
    with engine.connect() as conn:
        look_as_of(conn, NOW + timedelta(hours=1), known_at=NOW + timedelta(days=3))
        assert conn.scalar(text("select name from as_of.customers")) == "Anna"
        look_as_of(conn, NOW + timedelta(hours=1))
        assert conn.scalar(text("select name from as_of.customers")) == "Ann"


def test_what_a_rejected_row_was_about_is_not_gone(bring, world):
    bring("id,customer,at,amount\no1,1,2026-01-01,5\no2,1,2026-01-01,5\n", ORDERS)
    loaded = bring("id,customer,at,amount\no1,1,2026-01-01,five\n", ORDERS, is_complete=True)
    assert world.count("orders") == 2 and loaded.tables["orders"].gone == 0
    assert "1 rows were rejected, so nothing counts as gone" in loaded.notes


def test_a_merged_customer_is_there_as_long_as_either_is(bring, engine, world):
    rows = "".join(f"{n},Name,,,,,2026-01-01,\n" for n in range(1, 41))
    bring(HEAD + rows, CUSTOMERS)
    with engine.begin() as conn:
        merge_customers(conn, "1", "2", reason="one person", actor="test", now=NOW)
    loaded = bring(
        HEAD + rows.replace("1,Name,,,,,2026-01-01,\n", "", 1), CUSTOMERS, at=NOW + timedelta(1), is_complete=True
    )
    assert loaded.tables["customers"].gone == 0 and world.count("customers", customer_id="1") == 1
