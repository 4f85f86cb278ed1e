"""The shipped mappings on real tables, held against pandas."""

from datetime import date, timedelta
from decimal import Decimal

import pandas as pd
import pytest

from retention.intake.loaded import Counts
from retention.journey.policy import Policy
from retention.orchestration.dryrun import dry_run
from tests.intake.conftest import NOW, shared
from tests.world import World, example, shanghai


@pytest.fixture
def raw_customers() -> pd.DataFrame:
    return pd.read_csv(shared("adventureworks/AdventureWorks_Customers.csv"), encoding="utf-8-sig", dtype=str)


def test_adventureworks_customers(bring, engine, raw_customers):
    path = shared("adventureworks/AdventureWorks_Customers.csv")
    loaded = bring(path, "adventureworks_customers", is_history=True)
    assert (loaded.rows_read, loaded.rows_rejected, loaded.cells_left_out) == (18_148, 0, 0)
    assert loaded.tables == {"customers": Counts(new=18_148)}
    world = World(engine)
    born = pd.to_datetime(raw_customers.BirthDate, format="%m/%d/%Y")
    expected = set(zip(raw_customers.CustomerKey, born.dt.year, born.dt.month, born.dt.day, strict=True))
    assert set(world.rows("select customer_id, birth_year, birth_month, birth_day from customers")) == expected
    income = raw_customers.AnnualIncome.str.replace(r"[$, ]", "", regex=True).astype(float).sum()
    assert world.rows("select sum((attributes ->> 'income')::numeric) from customers") == [(Decimal(income),)]

    again = bring(path, "adventureworks_customers", is_history=True, at=NOW + timedelta(days=1))
    assert again.tables == {"customers": Counts(same=18_148)}
    assert world.count("customer_history") == 0

    # Who enters on these days: birthdays one to three days ahead, as the window of the first cohort says.
    for day in (date(2026, 12, 1), date(2026, 12, 30), date(2027, 2, 26)):
        ahead = {((day + timedelta(days=n)).month, (day + timedelta(days=n)).day) for n in (1, 2, 3)}
        birthdays = zip(born.dt.month, born.dt.day, strict=True)
        expected = sum(birthday in ahead for birthday in birthdays)
        planned = dry_run(engine, example(), shanghai(f"{day} 06:00"), policy=Policy(), now=NOW)
        assert planned.entered.enrolled == expected > 30


def test_adventureworks_sales(bring, engine):
    files = sorted(shared("adventureworks/AdventureWorks_Products.csv").parent.glob("*Sales*.csv"))
    loaded = [bring(path, "adventureworks_sales", is_history=True) for path in files]
    assert sum(it.rows_read for it in loaded) == 56_046
    assert sum(it.rows_rejected for it in loaded) == 0
    assert sum(it.tables["orders"].new for it in loaded) == 25_162
    assert sum(it.tables["order_items"].new for it in loaded) == 56_046
    # Two order numbers are used by two customers each: said, not swallowed.
    assert sum(it.cells_left_out for it in loaded) == 4

    sales = pd.concat([pd.read_csv(path) for path in files])
    products = pd.read_csv(files[0].parent / "AdventureWorks_Products.csv")
    lines = sales.merge(products, on="ProductKey")
    revenue = (lines.OrderQuantity * lines.ProductPrice).sum()
    world = World(engine)
    [(stored, items)] = world.rows("select sum(amount), count(*) from order_items")
    assert items == 56_046 and float(stored) == pytest.approx(revenue, abs=0.005)
    # Lines without an order, or orders without a line, there are none.
    [(orders, with_lines)] = world.rows(
        "select (select count(*) from orders), (select count(distinct order_id) from order_items join orders using (order_id))"
    )
    assert orders == with_lines == 25_162
    again = [bring(path, "adventureworks_sales", is_history=True) for path in files]
    assert sum(it.tables["orders"].same for it in again) == 25_162
    assert sum(it.tables["order_items"].same for it in again) == 56_046
    assert all(counts.new == counts.changed == 0 for it in again for counts in it.tables.values())


def test_cdnow(bring, engine):
    path = shared("cdnow/CDNOW_master.txt")
    loaded = bring(path, "cdnow", is_history=True)
    assert (loaded.rows_read, loaded.rows_rejected, loaded.cells_left_out) == (69_659, 0, 0)
    assert loaded.tables["customers"] == Counts(new=23_570, repeated=69_659 - 23_570)
    assert loaded.tables["orders"] == loaded.tables["order_items"] == Counts(new=69_659)
    raw = pd.read_csv(path, sep=r"\s+", skiprows=1, names=["id", "date", "cds", "dollars"], dtype=str)
    world = World(engine)
    [(revenue, discs)] = world.rows("select sum(amount), (select sum(quantity) from order_items) from orders")
    assert (revenue, discs) == (sum(map(Decimal, raw.dollars)), int(raw.cds.astype(int).sum()))
    # A customer is one since the first purchase.
    first = pd.to_datetime(raw.date, format="%Y%m%d").groupby("cdnow-" + raw.id).min()
    stored = world.rows("select customer_id, (occurred_at at time zone 'America/New_York')::date::text from customers")
    assert dict(stored) == {customer: str(day.date()) for customer, day in first.items()}


def test_a_shops_export(bring, engine):
    from pathlib import Path

    data = Path(__file__).parents[1] / "data" / "intake"
    loaded = bring(data / "shopify_orders.csv", "shopify_orders", is_history=True)
    assert (loaded.rows_read, loaded.rows_rejected) == (5, 1)
    assert dict(loaded.reasons) == {"customer_id: empty": 1, "phone: not a phone number": 1}
    world = World(engine)
    assert world.rows("select order_id, amount from orders order by 1") == [
        ("#1001", 196), ("#1002", 70), ("#1003", 68),
    ]  # fmt: skip
    assert world.rows(
        "select order_id, line, product_id, quantity, amount, coupon_code from order_items order by 1, 2"
    ) == [
        ("#1001", 1, "BEAN-250", 2, 136, "SPRING"),
        ("#1001", 2, "MUG-03", 1, 60, None),
        ("#1002", 1, "MUG-03", 1, 60, None),
        ("#1003", 1, "BEAN-250", 1, 68, None),
    ]
    # One person, though the address is written in two ways; never written in the id.
    assert world.rows("select count(distinct customer_id), bool_or(customer_id like '%@%') from orders") == [(2, False)]

    loaded = bring(data / "crm_contacts.csv", "crm_contacts")
    assert (loaded.rows_read, loaded.rows_rejected, loaded.cells_left_out) == (5, 1, 2)
    people = "select customer_id, name, phone, locale, country, timezone, derived, attributes from customers"
    assert world.rows(f"{people} where source = 'crm' order by 1") == [
        (
            "K-1",
            "Lei Li",
            "+8613800138000",
            "zh-CN",
            "CN",
            "Asia/Shanghai",
            ["timezone"],
            {"city": "上海", "tier": "gold"},
        ),
        ("K-2", "Meimei Han", "+8613900139000", "zh-CN", "CN", "Asia/Shanghai", ["timezone"], {"city": "北京"}),
        ("K-3", "Jim Green", None, "en", "US", None, [], {"city": "Boston", "tier": "silver"}),
    ]
    assert world.count("consents", source="crm") == 6
    again = bring(data / "crm_contacts.csv", "crm_contacts", at=NOW + timedelta(hours=1))
    assert all(counts.new == counts.changed == 0 for counts in again.tables.values())
