"""Every mistake in bad/ gives exactly the text beside it. A case is one journey, or a folder laid over include/.

After changing a wording: RETENTION_WRITE_BAD=1 pytest tests/journey/test_mistakes.py, then read the diff as a marketer.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retention.journey.fields import OWN_DAGS
from retention.journey.files import Files, read_files
from retention.journey.load import load
from tests.world import example_files

HERE = Path(__file__).parent
BAD = HERE / "bad"
INCLUDE = HERE.parents[1] / "include"
CASES = sorted(path for path in BAD.iterdir() if path.suffix != ".txt")
BESIDE = {
    "journeys/": ("journeys/birthday_care.yaml",),
    "templates/": ("templates/birthday/",),
    "sql/audiences/": ("sql/audiences/birthday_in_3_days.sql", "sql/audiences/became_churn_warning.sql"),
}
"""Of what ships, what stands beside every case: a new journey, template or audience changes no text."""


def is_beside(path: str) -> bool:
    return all(path.startswith(kept) for folder, kept in BESIDE.items() if path.startswith(folder))


SHIPPED = {path: text for path, text in example_files().items() if is_beside(path)}


def read_case(path: Path) -> Files:
    if path.is_dir():
        return Files({**SHIPPED, **read_files(path)})
    text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    return Files({**SHIPPED, f"journeys/{path.name}": text})


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_mistake_is_told(path: Path) -> None:
    workspace = load(read_case(path))
    told = "".join(f"{problem}\n" for problem in workspace.problems)
    expected = path.with_suffix(".txt")
    if os.environ.get("RETENTION_WRITE_BAD"):
        expected.write_text(told, encoding="utf-8")
    assert told == expected.read_text(encoding="utf-8")
    assert told


@pytest.mark.parametrize("path", [c for c in CASES if c.name != "shop_name_missing"], ids=lambda path: path.stem)
def test_mistake_touches_nobody_else(path: Path) -> None:
    """The shipped journey goes on beside a broken one; only the shop, which is everybody's, is everybody's mistake."""
    workspace = load(read_case(path))
    assert "birthday_care" in workspace.versions
    assert "birthday_care" not in workspace.broken


def test_every_case_breaks_its_own_journey() -> None:
    shared = {"shop_name_missing", "journey_ends_in_yml", "two_files_one_id"}
    for path in CASES:
        if path.stem not in shared:
            workspace = load(read_case(path))
            assert path.stem in workspace.broken and path.stem not in workspace.versions, path.name


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 40


def test_every_expected_text_has_its_case() -> None:
    assert {path.stem for path in BAD.glob("*.txt")} == {path.stem for path in CASES}


def test_no_journey_may_have_the_name_of_a_dag_of_ours() -> None:
    ours = {path.stem for path in (HERE.parents[1] / "dags").glob("*.py") if not path.stem.startswith("journeys")}
    assert ours <= set(OWN_DAGS)
    text = SHIPPED["journeys/birthday_care.yaml"]
    for name in OWN_DAGS:
        mine = Files({**SHIPPED, f"journeys/{name}.yaml": text.replace("journey: birthday_care", f"journey: {name}")})
        [problem] = load(mine).broken[name]
        assert f"include/journeys/{name}.yaml:" in str(problem) and "is the name of a DAG" in str(problem)
