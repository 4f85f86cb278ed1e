"""The library of audiences: what each is, whom it names, and why somebody is in or out."""

from datetime import timedelta

import pytest

from retention.audience.library import ask_one, count_one, read_library
from retention.errors import AudienceError
from retention.journey.files import read_files
from retention.journey.load import load
from tests.world import INCLUDE, shanghai

AT = shanghai("2026-12-01 06:00")


@pytest.fixture
def library():
    files = read_files(INCLUDE)
    return read_library(files, load(files).versions.values())


def make(sql):
    return read_library({"sql/audiences/mine.sql": sql}, [])["mine"]


def test_each_audience_says_what_it_is_and_who_uses_it(library):
    it = library["birthday_in_3_days"]
    assert it.about.startswith("Customers whose birthday is three days away") and it.about.endswith("two).")
    assert it.parameters == ("as_of", "timezone", "window_start") and it.journeys == ("birthday_care",)
    assert (it.window, it.zone) == (timedelta(days=3), "Asia/Shanghai")
    assert library["became_churn_warning"].parameters == ("as_of", "timezone", "window_start")
    for it in library.values():
        assert it.about, f"{it.name} has no comment that says what it is"


def test_parameters_in_a_comment_or_a_cast_are_none():
    it = make("-- Looks at :as_of.\nselect customer_id, 'x:as' || customer_id::text as occurrence from customers")
    assert it.parameters == () and it.journeys == ()


def test_how_many_as_of_then(world, library):
    world.customer("a", "12-04")
    world.customer("b", "12-04", since=AT + timedelta(days=1))  # learned of later
    counted = count_one(world.engine, library["birthday_in_3_days"], AT)
    assert (counted.customers, counted.occurrences, counted.error) == (1, 1, None) and counted.took_s > 0
    assert count_one(world.engine, library["birthday_in_3_days"], AT + timedelta(days=2)).customers == 2
    twice = make("select customer_id, n::text as occurrence from customers, generate_series(1, 3) n")
    counted = count_one(world.engine, twice, AT)
    assert (counted.customers, counted.occurrences) == (1, 3)


@pytest.mark.parametrize(
    "sql, said",
    [
        ("select customer_id,\n nothing as occurrence\nfrom customers", 'mine.sql:2: column "nothing" does not exist'),
        ("select customer_id from customers", "mine.sql:1: it returns the columns customer_id"),
        ("select customer_id, null::text as occurrence from customers", "without customer_id or occurrence"),
        ("delete from customers returning customer_id, 'x' as occurrence", "mine.sql:1:"),
        ("select customer_id, 'x' as occurrence from public.customers", "mine.sql:1: permission denied"),
        ("select customer_id, (1 / 0)::text as occurrence from customers", "division by zero"),
        ("select customer_id, pg_sleep(9)::text as occurrence from customers", "longer than 1 s"),
    ],
)
def test_what_fails_says_where(world, sql, said):
    world.customer("a")
    counted = count_one(world.engine, make(sql), AT, time_limit_s=1)
    assert counted.customers is None and said in counted.error
    assert world.count("customers") == 1


def test_whether_somebody_is_in_and_can_be_reached(world, library):
    world.customer("in%s", "12-04", phone=None)
    world.customer("out", "06-01", consent=("sms",))
    world.suppress("sms", world.rows("select phone from customers where customer_id = 'out'")[0][0])
    birthdays = library["birthday_in_3_days"]
    asked = ask_one(world.engine, birthdays, "in%s", AT)
    assert asked.occurrences == ["birthday:2026"]
    assert dict(asked.ways)["email"] is None and dict(asked.ways)["sms"] == "no_address"
    asked = ask_one(world.engine, birthdays, "out", AT)
    assert asked.occurrences == [] and dict(asked.ways) == {
        "email": "no_consent", "sms": "suppressed", "whatsapp": "no_consent", "webhook": "no_consent",
    }  # fmt: skip
    assert ask_one(world.engine, birthdays, "out", shanghai("2020-01-01 00:00")).ways == []
    assert ask_one(world.engine, birthdays, "' or true --", AT).occurrences == []
    with pytest.raises(AudienceError, match=r"mine\.sql:2"):
        ask_one(world.engine, make("select customer_id,\nx as occurrence from customers"), "out", AT)


def test_the_command(world, retention):
    world.customer("a", "12-04")
    said = retention("audiences", "--date", "2026-11-20")
    assert said.returncode == 0, said.stderr
    assert "birthday_in_3_days" in said.stdout and "used by birthday_care" in said.stdout
    assert "As of 2026-11-20 23:59" in said.stdout
