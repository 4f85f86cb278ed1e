"""A marked person is planted in every table, file and log that may hold one, and erased: nothing finds them, nothing brings
them back."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import ARRAY, Boolean, Date, DateTime, Integer, LargeBinary, Numeric, Text, select, text
from sqlalchemy.dialects.postgresql import JSONB
from starlette.testclient import TestClient

from retention.bench.world import NO_RULES
from retention.delivery.events.interpret import interpret
from retention.intake import merge
from retention.orchestration import cohort, privacy
from retention.store.personal import KEEP, PLACES
from retention.store.tables import metadata
from tests.web_public import signing
from tests.web_public.test_events import AT as EVENT_AT
from tests.web_public.test_events import NOW, make, sources  # noqa: F401 - a fixture
from tests.world import DAY, example

ID, OTHER, ORDER = "mkq-7781", "mkq-8892", "MKORD-5501"
NAME, EMAIL, PHONE = "Quirinus Zäpfelmann", "quirinus.z@marker.example", "+12025550147"
MARKS = [ID, OTHER, ORDER, "Zäpfelmann", "Z\\u00e4pfelmann", "quirinus.z@", "2025550147"]
KEY = "an erasure key of the tests, of 32 characters or more"
ENTERS = NOW - 20 * DAY


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("RETENTION_ERASURE_KEY", KEY)


def fill(world, name, **values):
    """A row of any table: what it needs and nobody gave is something of the type."""
    table = metadata.tables[name]
    for column in table.columns:
        if column.name in values or column.nullable or column.server_default is not None or column.identity:
            continue
        kinds = [
            (JSONB, {}), (LargeBinary, b""), (ARRAY, []), (Boolean, False), (DateTime, NOW), (Date, NOW.date()),
            (Integer, 1), (Numeric, 1), (Text, "x"),
        ]  # fmt: skip
        values[column.name] = next((it for kind, it in kinds if isinstance(column.type, kind)), 1)
    with world.engine.begin() as conn:
        return conn.execute(table.insert().values(**values).returning(*table.primary_key.columns)).first()[0]


@pytest.fixture
def planted(world, tmp_path, sources, retention):  # noqa: F811
    """By the ways that facts and events take, where there is one; by hand in the rest."""
    early = NOW - 40 * DAY
    birthday = (ENTERS.date() + timedelta(days=3)).strftime("%m-%d")
    address = {"name": NAME, "email": EMAIL, "phone": PHONE}
    world.customer(ID, birthday, since=early, **address)
    world.customer(OTHER, since=early, email="other@example.com", phone=None)
    world.customer("friend", birthday)
    world.order(ORDER, ID, early)
    with world.engine.begin() as conn:  # what was thought before stays as history
        at = {"at": early + DAY}
        conn.execute(text("update orders set amount = 7, currency = 'CNY', recorded_at = :at"), at)
        conn.execute(text("update order_items set quantity = 7, recorded_at = :at"), at)
    world.change_customer(ID, early + DAY, name=NAME)
    world.add("events", customer_id=ID, kind="view", occurred_at=early, recorded_at=early)
    world.add(
        "choices",
        customer_id=ID,
        subject="topic:tips",
        is_granted=True,
        source="page",
        occurred_at=early,
        recorded_at=early,
    )
    with world.engine.begin() as conn:
        merge.merge_customers(conn, ID, OTHER, reason=f"both are {NAME}", actor="ada", now=early + 2 * DAY)
    made = cohort.enroll(world.engine, example(holdout="0%"), ENTERS, mode="live", clock=lambda: ENTERS)
    due = ENTERS + timedelta(hours=10)
    cohort.plan(world.engine, made.cohort_id, "greeting", policy=NO_RULES, clock=lambda: due)
    for channel in ("sms", "email"):
        cohort.deliver(world.engine, made.cohort_id, "greeting", channel, policy=NO_RULES, clock=lambda: due)
    [(message, enrollment, coupon, code)] = world.rows(
        "select message_id, e.enrollment_id, coupon_id, code from messages join enrollments e using (enrollment_id)"
        " join coupons using (coupon_id) where e.customer_id = :id",
        id=ID,
    )
    world.order("MKORD-5501-b", ID, NOW - DAY, coupon=code.lower())
    world.suppress("email", EMAIL)
    client = TestClient(make(world.engine, sources), base_url="http://127.0.0.1:8090")
    told = [{"id": "s1", "customer_id": ID, "kind": "view", "occurred_at": NOW.isoformat()},
            {"id": "s2", "customer_id": "friend", "kind": "view", "occurred_at": NOW.isoformat()}]  # fmt: skip
    body = json.dumps(told).encode()
    assert client.post("/events/shop", content=body, headers=signing.as_shop(body, EVENT_AT)).is_success
    said = {"MessageSid": "SM77", "From": PHONE, "To": "+12025550100", "Body": f"this is {NAME}"}
    body, headers = signing.as_twilio("/events/twilio", said)
    assert client.post("/events/twilio", content=body, headers=headers).is_success
    interpret(world.engine, NOW)
    late = json.dumps([{**told[0], "id": "s3"}]).encode()  # waits to be understood
    assert client.post("/events/shop", content=late, headers=signing.as_shop(late, EVENT_AT)).is_success
    broken = write_contacts(tmp_path / "contacts.csv", ("", NAME, EMAIL, PHONE), ("friend", "Friend", "", ""))
    done = retention("import", broken, "--map", "crm_contacts")
    assert "1 rejected" in done.stdout, done.stdout + done.stderr
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "task.log").write_text(
        f"somebody wrote {NAME} and {PHONE} here\nand this stays\n", encoding="utf-8"
    )
    for table in ("customer_sums", "customer_preferences", "customer_values", "customer_points"):
        fill(world, table, customer_id=ID)
    fill(world, "tiers", customer_id=ID, scheme="six", tier="gold")
    fill(world, "churn", customer_id=ID, state="warning", score=50)
    fill(world, "strata", customer_id=ID, stratum=1, basis="purchases", value=9)
    fill(world, "contact_slots", customer_id=ID, mode="live", enrollment_id=enrollment)
    fill(
        world,
        "entry_refusals",
        customer_id=ID,
        cohort_id=made.cohort_id,
        mode="live",
        reason="backlog",
        occurrence=f"of {ID}",
    )
    fill(world, "coupon_uses", coupon_id=coupon, order_id=ORDER, verdict="counted")
    fill(world, "odd_events", source="shop", word=f"{ID} did what?", reason="unknown_kind")
    fill(world, "audit_log", detail={"reason": f"{NAME} called", "who": [ID]})
    fill(world, "stops", reason=f"complaint of {EMAIL}", lifted_at=NOW)
    [(import_id,)] = world.rows("select min(import_id) from imports")
    fill(world, "quality_checks", import_id=import_id, verdict="good", detail=f"seen: {ID}")
    fill(
        world,
        "data_holds",
        import_id=import_id,
        reason=f"{ID} twice",
        lifted_at=NOW,
        lifted_by="ada",
        lift_reason=EMAIL,
    )
    fill(world, "provider_accounts", account="a1", channel="sms", error=f"no such number {PHONE}")
    with world.engine.begin() as conn:
        conn.execute(text("update batches set error = :e"), {"e": f"{EMAIL} is odd"})
        conn.execute(text("update imports set name = :n where import_id = :i"), {"n": f"{ID}.csv", "i": import_id})
    return world, tmp_path, message


def write_contacts(path, *people):
    """An export of the CRM: (id, last name, e-mail, phone) each."""
    head = "Contact ID,First Name,Last Name,Email,Mobile,Birthday,Language,Country,Updated At,Deleted,City,Tier,Email Opt In,SMS Opt In"
    rows = [f"{who},Q,{last},{email},{phone},,,,,,,,," for who, last, email, phone in people]
    path.write_text("\n".join([head, *rows, ""]), encoding="utf-8")
    return path


def search(engine, marks) -> dict[str, int]:
    """Tables of any schema with rows that hold a mark, as text or as bytes."""
    forms = [*marks, *(mark.encode().hex() for mark in marks)]
    found = {}
    with engine.connect() as conn:
        tables = conn.execute(
            text(
                "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                " where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')"
            )
        ).all()
        for schema, table in tables:
            asked = text(f'select count(*) from {schema}."{table}" t where cast(t as text) ilike any(:forms)')
            if count := conn.scalar(asked, {"forms": [f"%{form}%" for form in forms]}):
                found[f"{schema}.{table}"] = count
    return found


def search_files(home, marks) -> list[str]:
    return [
        path.name
        for path in home.rglob("*")
        if path.is_file() and any(mark.lower() in path.read_text("utf-8", "replace").lower() for mark in marks)
    ]


def name_codes(engine) -> list[str]:
    coupons = metadata.tables["coupons"]
    with engine.connect() as conn:
        return list(conn.scalars(select(coupons.c.code).where(coupons.c.customer_id == ID)))


def test_the_marked_person_is_everywhere_then_nowhere_and_does_not_come_back(planted, retention, sources):  # noqa: F811
    world, home, message = planted
    marks = [*MARKS, *name_codes(world.engine)]
    before = search(world.engine, marks)
    tied_by_number = {"outcomes", "customer_merge_rows"}  # rows of theirs that hold no word of theirs
    held = {place.table for place in PLACES if place.erasing != KEEP}
    seen = {name.partition(".")[2].split("_20")[0] for name in before}
    assert held - seen <= tied_by_number, "planted in every table that may hold somebody"
    assert set(search_files(home, marks)) >= {"task.log", "contacts.csv"}
    (home / "contacts.csv").unlink()

    seen = json.loads(retention("erase", ID, "--dry-run", "--json").stdout)
    assert seen["rows"]["customers"] >= 1 and search(world.engine, marks) == before, "a dry run changes nothing"
    done = retention("erase", ID, "--reason", f"{NAME} asked for it", "--yes")
    assert done.returncode == 0, done.stderr
    assert search(world.engine, marks) == {}
    assert search_files(home, marks) == []
    assert "and this stays" in (home / "logs" / "task.log").read_text()
    # What counts still counts.
    assert world.rows("select count(*), sum(amount) from order_items") == [(2, 200)]
    assert world.count("messages", decision="send") == 2 and world.count("customers", customer_id="friend") == 1
    assert world.rows("select count(*) from events where customer_id = 'friend'") == [(1,)]

    # A file, as the CRM will send it again tonight.
    people = (ID, NAME, EMAIL, PHONE), ("brand-new", NAME, EMAIL.upper(), ""), ("friend", "Friend", "", "")
    again = write_contacts(home / "again.csv", *people)
    came = retention("import", again, "--map", "crm_contacts")
    assert "2 rejected" in came.stdout and "erased" in came.stdout, came.stdout + came.stderr
    again.unlink()
    # The shop, which does not know.
    client = TestClient(make(world.engine, sources), base_url="http://127.0.0.1:8090")
    told = [{"id": "s9", "customer_id": ID, "kind": "view", "occurred_at": NOW.isoformat()}]
    body = json.dumps(told).encode()
    assert client.post("/events/shop", content=body, headers=signing.as_shop(body, EVENT_AT)).is_success
    interpret(world.engine, NOW + DAY)
    assert world.count("customers", customer_id=ID) == world.count("events", customer_id=ID) == 0
    assert world.rows("select reason from odd_events where reason = 'erased'") == [("erased",)]
    assert search(world.engine, marks) == {}, "nor is what they said of them kept"
    assert search_files(home, marks) == []


def test_twice_is_once_and_who_comes_back_of_their_own_will_is_let_in(planted, retention):
    world, _, _ = planted
    retention("erase", ID, "--reason", "asked", "--yes")
    rows = {name: world.count(name) for name in metadata.tables if name != "audit_log"}
    assert retention("erase", ID, "--reason", "asked", "--yes").returncode == 0
    assert {name: world.count(name) for name in metadata.tables if name != "audit_log"} == rows
    assert privacy.lift(world.engine, ID, reason="came back", actor="ada", now=NOW) >= 3
