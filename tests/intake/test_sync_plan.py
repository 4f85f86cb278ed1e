"""include/sync.yaml: what may stand in it, and what is said when it is wrong."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from retention.errors import ConfigError
from retention.intake.sync_plan import COMPLETE_TABLES, SourceEntry, find_problems, find_source, read_sync
from retention.intake.take import SWEPT
from retention.intake.targets import TARGETS
from tests.world import INCLUDE

GOOD = """
schedule: "15 * * * *"
timezone: Europe/London
sources:
  - mapping: crm_contacts
    connection: crm
    query: |
      select * from contacts -- all of them; really
      where name <> ';' ;
    watermark: updated_at
    overlap: 2h
    compare_keys: true
    most_gone: 2.5%
  - {mapping: shopify_orders, connection: shop, query: select 1, complete: true}
"""


@pytest.fixture
def include(tmp_path) -> Path:
    shutil.copytree(INCLUDE / "mappings", tmp_path / "mappings")
    return tmp_path


def write(include: Path, text: str):
    (include / "sync.yaml").write_text(text, encoding="utf-8")
    return read_sync(include)


def test_every_key(include):
    sync = write(include, GOOD)
    assert not sync.problems and sync.names == ("crm_contacts", "shopify_orders")
    assert (sync.schedule, sync.timezone) == ("15 * * * *", "Europe/London")
    mapping, plan = find_source(include, "crm_contacts")
    assert mapping.path == "include/mappings/crm_contacts.yaml"
    assert plan.query.endswith("where name <> ';'"), "without the last semicolon"
    assert (plan.connection, plan.watermark, plan.overlap) == ("crm", "updated_at", timedelta(hours=2))
    assert (plan.is_complete, plan.compare_keys, plan.most_gone) == (False, True, 0.025)
    assert plan.where == "include/sync.yaml:5"
    plain = sync.plans["shopify_orders"]
    assert (plain.watermark, plain.overlap, plain.is_complete, plain.most_gone) == (
        None,
        timedelta(hours=1),
        True,
        None,
    )


def test_the_shipped_file_and_its_example(include):
    shipped = (INCLUDE / "sync.yaml").read_text(encoding="utf-8")
    sync = write(include, shipped)
    assert not sync.problems and not sync.names and sync.schedule == "*/30 * * * *"
    example = "\n".join(line.removeprefix("#") if line.startswith("#  ") else line for line in shipped.splitlines())
    shutil.copy(include / "mappings" / "crm_contacts.yaml", include / "mappings" / "crm_stores.yaml")
    renamed = (include / "mappings" / "crm_stores.yaml").read_text(encoding="utf-8")
    renamed = renamed.replace("mapping: crm_contacts", "mapping: crm_stores").replace("source: crm", "source: stores")
    (include / "mappings" / "crm_stores.yaml").write_text(renamed, encoding="utf-8")
    sync = write(include, example.replace("sources: []", "sources:"))
    assert not sync.problems and list(sync.plans) == ["crm_contacts", "crm_stores"]
    assert {key for key in SourceEntry.model_fields if f"{key}:" not in shipped} == set()


def test_no_file_is_no_sources(include):
    assert read_sync(include).names == () and find_problems(include) == []


SOURCE = "sources:\n  - mapping: crm_contacts\n    connection: crm\n    query: select 1\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SOURCE.replace("crm_contacts", "cdnov"), ':2: sources[0].mapping: there is no mapping "cdnov". Did you mean "cdnow"'),
        (SOURCE.replace("crm_contacts", "all_in"), ':2: sources[0].mapping: "all_in" is the name of a task every run'),
        (SOURCE.replace("connection: crm", "connection: postgres://u:p@h/d"), ':3: sources[0].connection: this is an address, not the id of a'),
        (SOURCE.replace("select 1", "select 1; drop table x"), ":4: sources[0].query: there is more than one statement."),
        (SOURCE.replace("select 1", "update x set y = 1"), ':4: sources[0].query: "update" begins no query.'),
        (SOURCE.replace("query", "qeury"), ':4: sources[0]: unknown key "qeury". Did you mean "query"?'),
        (SOURCE + "    watermark: a.b; --\n", ':5: sources[0].watermark: "a.b; --" is no column.'),
        (SOURCE + "    watermark: a\n    overlap: 1 hour\n", ':6: sources[0].overlap: "1 hour" is not a duration.'),
        (SOURCE + "    watermark: a\n    complete: true\n", ":6: sources[0].complete: only what is new is read"),
        (SOURCE + "    compare_keys: true\n", ":5: sources[0].compare_keys: without a watermark all rows are read"),
        (SOURCE + "    overlap: 1h\n", ":5: sources[0].overlap: without a watermark nothing overlaps."),
        (SOURCE + "    most_gone: 1%\n", ":5: sources[0].most_gone: nothing is found to be gone here."),
        (SOURCE + "    complete: yes\n", ":5: sources[0].complete: an unquoted yes"),
        (SOURCE + SOURCE.split("\n", 1)[1], ':5: sources[1].mapping: "crm_contacts" is read by another source already.'),
        ("schedule: hourly\n" + SOURCE, ':1: schedule: "hourly" has 1 field'),
        ("sources: [", ":1: "),
        ("", ":1: the file is empty."),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_line(include, text, said):
    sync = write(include, text)
    assert any(str(problem).startswith("include/sync.yaml" + said) for problem in sync.problems), sync.problems
    if not text.startswith("schedule") and "sources[1]" not in said:
        assert not sync.plans, "what is wrong is not read"


def test_a_source_that_is_wrong_leaves_the_others_right(include):
    sync = write(include, SOURCE + "  - {mapping: cdnow, connection: crm, query: drop}\n")
    assert sync.names == ("crm_contacts", "cdnow") and list(sync.plans) == ["crm_contacts"]
    with pytest.raises(ConfigError, match=r"include/sync.yaml:5: sources\[1\].query"):
        find_source(include, "cdnow")
    with pytest.raises(ConfigError, match='there is no source "cdnov" any more'):
        find_source(include, "cdnov") if not sync.problems else find_source(_right(include), "cdnov")


def _right(include: Path) -> Path:
    write(include, SOURCE)
    return include


def test_a_broken_mapping_is_told_once_and_breaks_its_source(include):
    path = include / "mappings" / "crm_contacts.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("birthday:", "birtday:"), encoding="utf-8")
    sync = write(include, SOURCE)
    assert [str(problem) for problem in sync.problems] == [
        'include/mappings/crm_contacts.yaml:14: rows[0].birtday: unknown key. Did you mean "birthday"?'
    ]
    assert sync.names == ("crm_contacts",) and not sync.plans


def test_two_queries_of_one_source_would_take_each_other_s_rows_away(include):
    text = (include / "mappings" / "crm_contacts.yaml").read_text(encoding="utf-8")
    (include / "mappings" / "leads.yaml").write_text(text.replace("mapping: crm_contacts", "mapping: leads"), "utf-8")
    sync = write(include, SOURCE + "    complete: true\n  - {mapping: leads, connection: crm, query: select 2}\n")
    [problem] = sync.problems
    assert (problem.line, problem.what) == (
        5, 'sources[0].complete: leads brings rows of the source "crm" into the same table: they would be gone.'
    )  # fmt: skip
    assert list(sync.plans) == ["leads"]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("{into: products, product_id: id}", "m brings neither customers nor orders"),
        ('{into: customers, customer_id: "#line"}', "customer_id of m can't be read from its columns alone"),
        ("{into: customers, customer_id: {column: id, lookup: l.b}}", "customer_id of m can't be read"),
    ],
)
def test_keys_that_can_t_be_compared(include, block, said):
    mapping = f"mapping: m\nsource: m\nlookups: {{l: {{file: l.csv, key: a}}}}\nrows:\n  - {block}\n"
    (include / "mappings" / "m.yaml").write_text(mapping)
    keys = "    watermark: v\n    compare_keys: true\n"
    sync = write(include, SOURCE.replace("crm_contacts", "m") + keys)
    assert len(sync.problems) == 1 and said in str(sync.problems[0])


def test_the_tables_are_those_of_loads():
    assert {table: TARGETS[table].key[0] for table in COMPLETE_TABLES} == SWEPT


def test_reading_it_loads_no_frames():
    code = "import sys; sys.path.insert(0, 'plugins'); import retention.intake.sync_plan; assert 'polars' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=INCLUDE.parent)
