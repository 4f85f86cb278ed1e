"""A first mapping guessed from a file: it is a right mapping, or says CHANGE_ME where it can't be."""

from pathlib import Path

import pytest

from retention.errors import ConfigError, IntakeError
from retention.intake.guess import CHANGE_ME, guess_mapping
from retention.intake.mapping_file import parse_mapping
from tests.intake.conftest import shared
from tests.world import INCLUDE

DATA = Path(__file__).parents[1] / "data" / "intake"


def test_a_shops_export_is_recognised(bring):
    name, text, notes = guess_mapping(DATA / "shopify_orders.csv")
    assert CHANGE_ME not in text and notes[0].endswith("recognised, as orders.")
    loaded = bring(DATA / "shopify_orders.csv", text)
    assert loaded.tables["orders"].new == 3 and loaded.tables["order_items"].new == 4


def test_contacts_are_recognised_but_for_their_words(bring):
    name, text, notes = guess_mapping(DATA / "crm_contacts.csv", "contacts")
    assert name == "contacts" and 'format: ["%Y-%m-%d", "%d/%m/%Y", "%m-%d"]' in text
    # What the words of a language and a country mean only a person knows.
    assert {line.split(":")[0].strip() for line in text.splitlines() if CHANGE_ME in line} == {"locale", "country"}
    filled = text.replace(f"中文: {CHANGE_ME}", "中文: zh-CN").replace(f"Chinese: {CHANGE_ME}", "Chinese: zh-CN")
    filled = filled.replace(f"中国: {CHANGE_ME}", "中国: CN").replace(f"China: {CHANGE_ME}", "China: CN")
    loaded = bring(DATA / "crm_contacts.csv", filled)
    assert loaded.tables["customers"].new == 3 and loaded.tables["consents"].new == 6


@pytest.mark.parametrize("name", ["Customers", "Sales_2018", "Products"])
def test_adventureworks_is_recognised(name):
    _, text, _ = guess_mapping(shared(f"adventureworks/AdventureWorks_{name}.csv"))
    mapping = parse_mapping("m.yaml", text, text.split("mapping: ")[1].split()[0])
    assert mapping.tables[0] == {"Customers": "customers", "Sales_2018": "orders", "Products": "products"}[name]


def test_days_and_months_that_cant_be_told_apart_are_asked_about(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("customer_id,birthday\n1,04/05/1990\n2,01/02/1991\n")
    assert '"%m/%d/%Y"}     # or %d/%m/%Y: these rows do not tell' in guess_mapping(path)[1]


def test_a_chinese_shops_orders_need_no_help(bring, tmp_path):
    path = tmp_path / "订单.csv"
    rows = "D1,VIP1,2026-03-01 10:00:00,99.50,已支付\nD2,VIP2,2026-03-02 10:00:00,5,已退款\n"
    path.write_bytes(("订单号,会员号,下单时间,实付金额,订单状态\n" + rows).encode("gb18030"))
    name, text, _ = guess_mapping(path, "dd")
    assert CHANGE_ME not in text and "file: {encoding: gb18030}" in text
    loaded = bring(path, text)
    assert loaded.tables["orders"].new == 2 and loaded.tables["order_status"].new == 2 and not loaded.reasons


def test_each_channel_s_own_consent_is_recognised(bring, tmp_path, world):
    path = tmp_path / "x.csv"
    path.write_text("customer_id,email_opt_in,sms_opt_in,whatsapp_opt_in\nc1,yes,no,yes\nc2,no,,yes\n")
    assert bring(path, guess_mapping(path, "x")[1]).tables["consents"].new == 5
    rows = world.rows("select customer_id, channel from consents where is_granted order by 1, 2")
    assert rows == [("c1", "email"), ("c1", "whatsapp"), ("c2", "whatsapp")]


def test_a_file_without_rows_gives_nothing_to_guess_from(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("customer_id,birthday\n")
    with pytest.raises(IntakeError, match="no rows to guess from"):
        guess_mapping(path)


@pytest.mark.parametrize("path", sorted((INCLUDE / "mappings").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_mappings_are_right(path):
    parse_mapping(path.name, path.read_text(encoding="utf-8"), path.stem)


MISTAKES = {
    "sorce: crm": 'm.yaml:2: sorce: unknown key. Did you mean "source"?',
    "timezone: Mars": 'm.yaml:2: timezone: "Mars" is not a time zone',
    "country: China": 'm.yaml:2: country: "China" does not fit here. Write two capital letters: CN.',
    "file: {delimiter: ';;'}": 'm.yaml:2: file.delimiter: ";;" is not one character.',
    "file: {encoding: utf-99}": 'm.yaml:2: file.encoding: "utf-99" is no encoding. Write one of utf-8, gb18030',
    "file: {header: false}": "m.yaml:2: file: a file without a header needs names.",
    "lookups: {p: {file: ../x.csv, key: k}}": 'lookups.p: "../x.csv" is not a file\'s name.',
    "rows: []": "m.yaml:2: rows: the list is empty. Write what a row becomes",
    "rows: [{into: clients}]": 'm.yaml:2: rows[0].into: into: "clients" is no table of facts.',
    "rows: [{into: customers}]": "m.yaml:2: rows[0]: customers needs customer_id. Say which column holds it",
    "rows: [{into: customers, customer_id: id, emial: mail}]": 'rows[0].emial: unknown key. Did you mean "email"?',
    "rows: [{into: customers, customer_id: {colum: id}}]": 'rows[0].customer_id.colum: unknown key. Did you mean "column"?',
    "rows: [{into: customers, customer_id: {column: id, value: 7}}]": "it is not said where the value comes from",
    "rows: [{into: customers, customer_id: id, birthday: {column: b, format: YYYY}}]": '"YYYY" is not a format of a date.',
    "rows: [{into: customers, customer_id: id, birthday: {column: b, format: '%H:%M'}}]": "is not a format of a birthday.",
    "rows: [{into: orders, order_id: o, customer_id: c, occurred_at: {column: t, format: '%H:%M'}}]": "format without a day",
    "rows: [{into: orders, order_id: o, customer_id: c, occurred_at: {column: t, format: '%Y-%m-%d %I:%M'}}]": (
        "does not say which half of the day"
    ),
    "rows: [{into: orders, order_id: o, customer_id: c, occurred_at: t, amount: a}]": "orders: an amount needs its currency.",
    "rows: [{into: products, product_id: {column: p, lookup: price}}]": '"price" is not a look-up.',
    "rows: [{into: products, product_id: {column: p, lookup: x.price}}]": 'there is no look-up "x".',
    "rows: [{into: customers, customer_id: id, locale: {column: l, otherwise: skip}}]": '"skip" is not known here.',
    "rows: [{into: customers, customer_id: id, attributes: {a: {column: x, as: money}}}]": '"money" is not known here.',
}


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_in_a_mapping_are_told_with_their_line(line):
    rest = "" if line.startswith("rows") else "\nrows:\n  - {into: customers, customer_id: id}\n"
    with pytest.raises(ConfigError) as caught:
        parse_mapping("m.yaml", f"mapping: m\n{line}{rest}\n", "m")
    assert MISTAKES[line] in str(caught.value), str(caught.value)
