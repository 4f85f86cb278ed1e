"""The schema: migrations and metadata agree, invariants hold, the past stays the past."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from retention.errors import AudienceError, StoreError
from retention.store import migrate as migrations
from retention.store.migrate import is_current, migrate
from retention.store.queries import look_as_of
from retention.store.tables import SKIP_REASONS, metadata
from tests.world import LONG_AGO, shanghai

NOON = shanghai("2026-12-01 12:00")


@pytest.fixture
def empty_url(server):
    name = "made_by_migrate"
    admin = create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    yield server.url(name)
    with admin.connect() as conn:
        conn.execute(text(f"drop database if exists {name} with (force)"))
    admin.dispose()


def test_migrations_make_exactly_the_metadata(engine):
    with engine.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []


def test_a_missing_database_is_made_and_migrating_again_changes_nothing(empty_url):
    migrate(empty_url)
    migrate(empty_url)
    assert is_current(create_engine(empty_url))


def test_two_migrations_at_once(empty_url):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(migrate, [empty_url] * 3))
    assert is_current(create_engine(empty_url))


def test_a_migration_that_dies_leaves_nothing_behind(empty_url, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        original = migrations.command.upgrade
        patch.setattr(migrations.command, "upgrade", lambda *a: (original(*a), die()))
        with pytest.raises(KeyboardInterrupt):
            migrate(empty_url)
    engine = create_engine(empty_url)
    with engine.connect() as conn:
        assert conn.scalar(text("select count(*) from pg_tables where schemaname = 'public'")) == 0
    engine.dispose()
    migrate(empty_url)


def test_a_newer_schema_is_left_alone(database_url):
    with create_engine(database_url).begin() as conn:
        conn.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(StoreError, match=r"its schema \(9999\) is newer than this code"):
        migrate(database_url)


def test_every_table_says_what_it_is_for(engine):
    for table in metadata.tables.values():
        assert table.comment and table.comment.endswith("."), table.name


def test_the_kinds_of_events_are_the_registrys(world):
    from retention.store.event_kinds import EVENT_KINDS

    assert dict(world.rows("select kind, title from event_kinds")) == EVENT_KINDS


@pytest.mark.parametrize(
    "statement",
    [
        "insert into customers (customer_id, birth_month, occurred_at, recorded_at) values ('x', 3, now(), now())",
        "insert into customers (customer_id, phone, occurred_at, recorded_at) values ('x', '138 0013', now(), now())",
        "insert into events (customer_id, kind, occurred_at, recorded_at) values ('x', 'dance', now(), now())",
        "insert into cohorts (mode, journey, cohort_at, version_id, status, is_on_time, candidates, created_at)"
        " values ('live', 'j', now(), 1, 'open', true, 0, now())",
    ],
)
def test_what_must_not_be_is_refused(engine, statement):
    with engine.begin() as conn:
        conn.execute(
            text(
                "insert into journey_versions (journey, content_hash, content, created_at) values ('j', 'h', '{}', now())"
            )
        )
    with pytest.raises(IntegrityError), engine.begin() as conn:
        conn.execute(text(statement))


def test_reasons_are_known_to_the_schema(engine):
    with engine.connect() as conn:
        check = conn.scalar(
            text("select pg_get_constraintdef(oid) from pg_constraint where conname = 'ck_messages_reason_known'")
        )
    assert all(f"'{reason}'" in check for reason in SKIP_REASONS)


def see(world, sql, moment, known_at=None):
    with world.engine.begin() as conn:
        look_as_of(conn, moment, known_at=known_at)
        return [tuple(row) for row in conn.execute(text(sql))]


def test_a_customer_is_seen_as_known_then(world):
    world.customer("c", name="Old")
    world.change_customer("c", NOON, name="New")
    world.change_customer("c", NOON + timedelta(hours=1), name="Newest")
    name = "select name from as_of.customers"
    assert see(world, name, NOON - timedelta(seconds=1)) == [("Old",)]
    assert see(world, name, NOON) == [("New",)]
    assert see(world, name, NOON + timedelta(days=1)) == [("Newest",)]
    assert see(world, name, LONG_AGO - timedelta(days=1)) == []
    # "As it happened": what is known today about that time.
    assert see(world, name, NOON - timedelta(days=1), known_at=NOON + timedelta(days=9)) == [("Newest",)]


def test_orders_have_the_status_of_that_moment(world):
    world.customer("c")
    world.order("o", "c", NOON)
    for hours, status in ((1, "paid"), (30, "delivered"), (50, "refunded")):
        at = NOON + timedelta(hours=hours)
        world.add("order_status", order_id="o", status=status, occurred_at=at, recorded_at=at)
    status = "select status from as_of.orders"
    assert see(world, status, NOON - timedelta(minutes=1)) == []
    assert [see(world, status, NOON + timedelta(hours=h))[0][0] for h in (0, 2, 31, 51)] == [
        "placed", "paid", "delivered", "refunded",
    ]  # fmt: skip


def test_the_latest_consent_and_suppression_count(world):
    world.customer("c", email="C@Example.com")
    reach = "select channel, address, reason from as_of.reach where purpose = 'marketing' and channel = 'email'"
    assert see(world, reach, NOON) == [("email", "c@example.com", None)]
    world.consent("c", "email", False, NOON)
    assert see(world, reach, NOON - timedelta(seconds=1)) == [("email", "c@example.com", None)]
    assert see(world, reach, NOON) == [("email", "c@example.com", "no_consent")]
    world.consent("c", "email", True, NOON + timedelta(hours=1))
    world.suppress("email", "c@example.com", NOON + timedelta(hours=2))
    assert see(world, reach, NOON + timedelta(hours=1)) == [("email", "c@example.com", None)]
    assert see(world, reach, NOON + timedelta(hours=3)) == [("email", "c@example.com", "suppressed")]


@pytest.mark.parametrize(
    ("email", "usable"),
    [
        ("Li.Lei+x@Example.com", "li.lei+x@example.com"),
        ("none", None), ("@example.com", None), ("a@b", None), ("a b@example.com", None), ("a@example..com", None),
        ("a@@example.com", None), ("a@example.com,b@example.com", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_addresses_we_can_write_to(engine, email, usable):
    with engine.connect() as conn:
        assert conn.scalar(text("select as_of.usable_email(:email)"), {"email": email}) == usable


def test_the_lunar_calendar_is_whole(world):
    """Every day from 1900 to 2100 lies in exactly one month; festivals of known years are right."""
    months = world.rows("select lunar_year, month, is_leap, first_day, days from lunar_months order by first_day")
    for (*_, first, days), (*_, next_first, _) in zip(months, months[1:], strict=False):
        assert first + timedelta(days=days) == next_first
    new_years = {year: first for year, month, _, first, _ in months if month == 1}
    # Source: Hong Kong Observatory, Gregorian-Lunar Calendar Conversion Table.
    for year, day in (
        (1985, "02-20"),
        (2000, "02-05"),
        (2023, "01-22"),
        (2026, "02-17"),
        (2033, "01-31"),
        (2034, "02-19"),
    ):
        assert f"{new_years[year]:%m-%d}" == day
    leap = {year: month for year, month, is_leap, *_ in months if is_leap}
    assert (leap[2020], leap[2023], leap[2025], leap[2028], leap[2033]) == (4, 2, 6, 5, 11)


def test_an_account_that_may_not_become_the_reader_is_told_what_to_do(world, monkeypatch):
    from retention.store import readonly

    monkeypatch.setattr(readonly, "READER_ROLE", "nobody_made_me")
    from tests.audience.test_entry import EVERYBODY, enter, with_audience

    with pytest.raises(StoreError, match="decisions/0004"):
        enter(world, with_audience(EVERYBODY))
    assert not issubclass(StoreError, AudienceError)


def test_errors_of_the_database_hide_what_they_were_given(engine):
    with pytest.raises(SQLAlchemyError) as caught, engine.connect() as conn:
        conn.execute(text("select :x::int"), {"x": "secret@example.com"})
    assert "secret@example.com" not in str(caught.value).split("[SQL")[-1]
