"""Bringing in facts at the command line: what people see, files they find, mistakes they make."""

import csv
import json
import stat
from pathlib import Path

import pytest

from retention.store.database import ROOT

DATA = Path(__file__).parent / "data" / "intake"
CONTACTS = DATA / "crm_contacts.csv"


def test_an_import_says_what_came_in_and_keeps_the_rest(retention, world, tmp_path):
    done = retention("import", CONTACTS, "--map", "crm_contacts")
    assert done.returncode == 0, done.stderr
    assert 'crm_contacts.csv (utf-8, ";"): 5 rows read, 4 taken, 1 rejected, 2 cells left out' in done.stdout
    assert "crm_contacts.csv:line 6, column Contact ID: customer_id: empty." in done.stdout
    kept = tmp_path / "imports" / "1-crm_contacts.csv.rejected.csv"
    assert str(kept) in done.stdout
    # People's data: for this account alone.
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600 and stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    rows = list(csv.DictReader(kept.open(encoding="utf-8-sig")))
    assert [(row["line"], row["level"]) for row in rows] == [("3", "cell"), ("4", "cell"), ("6", "row")]
    assert rows[2]["raw"].startswith(",Nobody,")
    # The screen names no person.
    assert "Meimei" not in done.stdout and "@" not in done.stdout.replace("e-mail", "")

    again = json.loads(retention("import", CONTACTS, "--map", "crm_contacts", "--json").stdout)
    assert again[0]["tables"]["customers"] == {
        "new": 0, "changed": 0, "same": 4, "repeated": 0, "older": 0, "gone": 0, "merged": 0,
    }  # fmt: skip
    assert again[0]["rows_read"] == again[0]["rows_taken"] + again[0]["rows_rejected"] == 5
    loads = json.loads(retention("loads", "--json").stdout)
    assert [load["state"] for load in loads] == ["done", "done"]
    kept.unlink()
    assert "customer_id: empty" in retention("loads", 1).stdout and kept.exists()


def test_a_dry_run_keeps_nothing(retention, world, tmp_path):
    done = retention("import", CONTACTS, "--map", "crm_contacts", "--dry-run")
    assert "a dry run, nothing is kept" in done.stdout
    assert world.count("customers") == world.count("imports") == 0 and not (tmp_path / "imports").exists()


def test_a_guess_is_written_once(retention, tmp_path):
    place = tmp_path / "contacts.yaml"
    assert "wrote" in retention("import", "--guess", CONTACTS, "--map", place).stdout
    again = retention("import", "--guess", CONTACTS, "--map", place)
    assert again.returncode == 1 and "it is there already" in again.stderr


def test_bad_data_hold_the_journeys_until_somebody_accepts_them(retention, world, tmp_path):
    rows = "".join(f"c{n},shared@example.com\n" for n in range(300))
    (tmp_path / "people.csv").write_text("id,mail\n" + rows)
    mapping = "mapping: people\nsource: x\nrows:\n  - {into: customers, customer_id: id, email: mail}\n"
    (tmp_path / "people.yaml").write_text(mapping)
    done = retention("import", tmp_path / "people.csv", "--map", tmp_path / "people.yaml")
    assert "STOP: customers_sharing_address: 100%" in done.stdout and "Nobody enters" in done.stdout
    refused = retention("run", "birthday_care", "--on-time")
    assert refused.returncode == 1 and "data: not fit to go on with" in refused.stderr
    assert "It would wait: data" in retention("plan", "birthday_care").stdout
    assert "HELD: data" in retention("status").stdout
    accepted = retention("quality", "--accept", "a test store")
    assert "1 hold lifted" in accepted.stdout
    assert retention("run", "birthday_care", "--on-time").returncode == 0


def test_two_ids_of_one_person(retention, world):
    world.customer("A", phone=None)
    world.customer("B")
    world.order("o1", "B", world_moment())
    done = retention("customers", "merge", "A", "B", "--reason", "same person")
    assert "B goes on under A" in done.stdout and "retention customers unmerge B" in done.stdout
    assert world.rows("select customer_id from orders") == [("A",)]
    for either in ("A", "B"):
        assert "B goes on under A: same person" in retention("explain", either).stdout
    assert json.loads(retention("customers", "merged", "--json").stdout)[0]["reason"] == "same person"
    assert retention("customers", "unmerge", "B").returncode == 0
    assert world.rows("select customer_id from orders") == [("B",)]
    assert retention("customers", "merge", "A", "A").returncode == 1


def world_moment():
    from tests.world import shanghai

    return shanghai("2026-01-01 10:00")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["import", "x.csv"], "--map is missing. Name a mapping, or let `retention import --guess FILE`"),
        (["import", "x.csv", "--map", "crm_contact"], 'no such mapping. Did you mean "crm_contacts"?'),
        (["import", "x.csv", "--map", "crm_contacts"], "x.csv: there is no such file."),
        (["import", "tests", "--map", "crm_contacts"], "tests: this is a folder."),
        (["import", "a.csv", "b.csv", "--map", "cdnow", "--complete"], "--complete takes one file"),
        (["import", "a.csv", "--map", "cdnow", "--most-gone", "many"], '--most-gone: "many" is no share.'),
        (["import", "README.md", "--map", "crm_contacts"], "there is no column"),
        (["loads", "77"], "there is no load 77"),
        (["quality", "--accept", " "], "say why"),
    ],
)
def test_mistakes_at_the_command_line(retention, arguments, text):
    done = retention(*arguments)
    assert done.returncode == 1 and text in done.stderr, done.stderr


def test_check_reads_the_mappings_too(retention):
    assert (ROOT / "include" / "mappings").is_dir()
    assert retention("check").returncode == 0


def test_check_says_what_going_live_will_ask_for(retention):
    said = retention("check").stdout
    assert "\nBefore live: true:\ninclude/policy.yaml:" in said and "law.yaml: cn_abroad" in said
    assert json.loads(retention("check", "--json").stdout)["notes"][0]["path"] == "include/policy.yaml"
