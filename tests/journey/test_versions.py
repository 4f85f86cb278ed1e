"""Versions: what they hold, what their hash follows, and that a stored one is the same one."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from retention.errors import ConfigError
from retention.journey.check import check_changes
from retention.journey.files import Files, read_files
from retention.journey.load import Version, load, load_version
from retention.journey.starter import starter
from tests.world import example_files

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = example_files()
JOURNEY = "journeys/birthday_care.yaml"


def birthday(files: dict[str, str]) -> Version:
    workspace = load(Files(files))
    assert not workspace.problems, workspace.problems
    return workspace.versions["birthday_care"]


def test_what_ships_is_right_and_safe() -> None:
    workspace = load(SHIPPED)
    assert workspace.problems == [] and workspace.broken == {}
    assert not any(version.journey.live for version in workspace.versions.values())


def test_birthday_care_means_what_it_says() -> None:
    journey = birthday(SHIPPED).journey
    assert (journey.schedule, journey.starts_on, journey.timezone) == ("0 6 * * *", date(2026, 11, 1), "Asia/Shanghai")
    assert (journey.holdout, journey.goal.target, journey.goal.within) == (0.10, 0.12, timedelta(days=10))
    assert journey.entry.reenter_after == timedelta(days=300) and journey.entry.max_per_day is None
    greeting, last_day = journey.steps
    assert greeting.coupon.value == 20 and greeting.send.order == ("sms", "email") and not greeting.send.each
    assert [str(it) for it in last_day.only_if] == ["coupon: unused"] and journey.step("last_day") is last_day
    assert journey.length == timedelta(days=7, hours=10)


def test_stored_content_is_the_same_version() -> None:
    version = birthday(SHIPPED)
    again = load_version(dict(version.content))
    assert again == version


def test_stored_content_with_a_mistake_is_refused() -> None:
    content = dict(birthday(SHIPPED).content)
    with pytest.raises(ConfigError, match="birthday_in_3_days"):
        load_version({path: text for path, text in content.items() if not path.endswith(".sql")})
    with pytest.raises(ConfigError, match="exactly one journey"):
        load_version({path: text for path, text in content.items() if path != JOURNEY})


def test_hash_follows_nothing_but_the_files_it_uses() -> None:
    first = birthday(SHIPPED)
    other = {**SHIPPED, **starter("winback", audience="birthday_in_3_days", starts_on=date(2027, 1, 1))}
    backwards = dict(reversed(list(SHIPPED.items())))
    dos = {path: "\ufeff" + text.replace("\n", "\r\n") for path, text in SHIPPED.items()}
    for files in (other, backwards, dos):
        assert birthday(files).content_hash == first.content_hash
        assert birthday(files).content == first.content


@pytest.mark.parametrize("path", sorted(birthday(SHIPPED).content))
def test_hash_changes_with_each_file_it_uses(path: str) -> None:
    comment = {"sql": "-- x", "yaml": "# x"}.get(path.rpartition(".")[2], "x")
    changed = {**SHIPPED, path: SHIPPED[path] + f"\n{comment}\n"}
    assert birthday(changed).content_hash != birthday(SHIPPED).content_hash


def test_content_leaves_out_channels_that_are_not_used() -> None:
    text = SHIPPED[JOURNEY].replace("[sms, email]", "[email]")
    content = birthday({**SHIPPED, JOURNEY: text}).content
    assert not [path for path in content if "/sms." in path]
    assert load_version(content).content == content


def test_the_starter_passes_the_check_as_it_stands() -> None:
    files = starter("winback", audience="birthday_in_3_days", starts_on=date(2026, 12, 1))
    workspace = load(Files({**SHIPPED, **files}))
    assert workspace.problems == [] and "winback" in workspace.versions
    assert not workspace.versions["winback"].journey.live


@pytest.mark.parametrize("name", ["Win Back", "", "1st", "../etc/passwd", "召回", "x" * 61])
def test_the_starter_refuses_what_is_no_id(name: str) -> None:
    with pytest.raises(ConfigError, match="can't be an id"):
        starter(name, audience="birthday_in_3_days", starts_on=date(2026, 12, 1))


def changed(*replacements: tuple[str, str]) -> Version:
    text = SHIPPED[JOURNEY]
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return birthday({**SHIPPED, JOURNEY: text})


def test_a_step_may_not_vanish_under_people() -> None:
    old = birthday(SHIPPED)
    without = changed((SHIPPED[JOURNEY][SHIPPED[JOURNEY].index("  - id: last_day") :], ""))
    (problem,) = check_changes(old, without, in_flight=3)
    assert str(problem) == (
        'include/journeys/birthday_care.yaml:33: steps: step "last_day" is gone, but 3 cohorts under way still need it.'
        " Put it back with the line retired: true, and delete it when they have finished."
    )
    assert check_changes(old, without, in_flight=0) == []


def test_a_renamed_step_is_recognised() -> None:
    (problem,) = check_changes(birthday(SHIPPED), changed(("id: last_day", "id: reminder")), in_flight=1)
    assert str(problem) == (
        'include/journeys/birthday_care.yaml:40: steps: step "last_day" is now called "reminder",'
        " but 1 cohort under way still needs it."
        " Call it last_day again; the id is no title, it only has to stay the same."
    )


def test_a_retired_step_owes_nobody_anything() -> None:
    retired = changed(("    only_if: coupon_unused", "    only_if: coupon_unused\n    retired: true"))
    without = changed((SHIPPED[JOURNEY][SHIPPED[JOURNEY].index("  - id: last_day") :], ""))
    assert check_changes(birthday(SHIPPED), retired, in_flight=5) == []
    assert check_changes(retired, without, in_flight=5) == []


def test_steps_may_be_reordered_and_added() -> None:
    text = SHIPPED[JOURNEY]
    start, second = text.index("  - id: greeting"), text.index("  - id: last_day")
    reordered = birthday({**SHIPPED, JOURNEY: text[:start] + text[second:] + "\n" + text[start:second]})
    assert [step.id for step in reordered.journey.steps] == ["last_day", "greeting"]
    assert check_changes(birthday(SHIPPED), reordered, in_flight=5) == []


def test_reading_survives_what_lies_about(tmp_path: Path) -> None:
    (tmp_path / "journeys").mkdir()
    (tmp_path / "journeys" / "broken.yaml").write_bytes(b"journey: broken\ntitle: \xd5\xd9\n")
    (tmp_path / "journeys" / ".winback.yaml.swp").write_bytes(b"\x00")
    (tmp_path / "journeys" / "winback.yaml~").write_text("x")
    (tmp_path / "journeys" / "gone.yaml").symlink_to(tmp_path / "nowhere.yaml")
    (tmp_path / "journeys" / "folder.yaml").mkdir()
    files = read_files(tmp_path)
    assert set(files) == {"journeys/broken.yaml"} and set(files.unreadable) == {"journeys/gone.yaml"}
    told = [str(problem) for problem in load(files).problems]
    assert any("broken.yaml:2: this line has characters that are not UTF-8" in text for text in told)
    assert any("gone.yaml:1: the file can't be opened" in text for text in told)


def test_an_empty_include_folder_is_no_exception(tmp_path: Path) -> None:
    assert load(read_files(tmp_path)).versions == {}


def test_importing_the_language_brings_in_no_engine() -> None:
    heavy = "('airflow', 'pandas', 'sqlalchemy')"
    code = f"import sys, retention.journey.load; print([m for m in {heavy} if m in sys.modules])"
    path = {"PYTHONPATH": str(ROOT / "plugins")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=path, check=True)
    assert done.stdout.strip() == "[]"
