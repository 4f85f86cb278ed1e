"""No traceback ever reaches a marketer: whatever stands in the files, load() answers with problems."""

from __future__ import annotations

import json
import os

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from retention.errors import Problem
from retention.journey.files import Files
from retention.journey.load import load
from tests.world import example_files

EXAMPLES = int(os.environ.get("RETENTION_EXAMPLES", "150"))
"""How many examples per property; `make soak` asks for many more."""

SHIPPED = example_files()
PATHS = sorted(SHIPPED)
SNIPPETS = [
    "{{", "}}", "{%", "%}", "{#", "{% if customer.name %}", "{{ customer.name }}", "{{ ((((1)))) }}", "{{ 9**9**9 }}",
    "{{ 'a' * 99999999 }}", "{{ customer.__class__ }}", "{% for x in range(9) %}", "{{ coupon }}", "{{ a[0] }}",
    "---\n", ":", ": ", " - ", "- ", "[", "]", "{", "}", "&a ", "*a", "!!set ", "!x ", "|", ">", '"', "'", "\\", "\t",
    "\n", "#", "%", "@", "`", "?", "? ", "<<: *a", "null", "~", "no", "yes", "true", "0", "-1", "99999999999999999999",
    "1e999", ".nan", "0x10", "10:00", "2026-02-30", "day 0, 10:00", "day 99999, 99:99", "99999w", "-3d", "101%", "10%",
    "* * * * *", "0 6 31 2 *", "*/0 * * * *", "0-99 * * * *", "@daily", "L L L L L", "0 6 * * 1#9", "0 6 * * L9",
    "Asia/Shanghai", "../../etc/passwd", "/etc/passwd", "\x00", "\ud800", "\ufeff", "\u2028", "：", "“", "生日", "é",
    "journey:", "steps:", "send:", "at:", "entry:", "coupon:", "channels:", "all:", "timezone:", "live: ",
]  # fmt: skip

words = st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=8))
kinds = st.sampled_from(["insert", "replace", "delete", "value"])
edits = st.tuples(kinds, st.integers(0, 10**6), words, st.integers(1, 30))


def mutate(text: str, edit: tuple[str, int, str, int]) -> str:
    kind, place, word, length = edit
    at = place % (len(text) + 1)
    if kind == "insert":
        return text[:at] + word + text[at:]
    if kind == "delete":
        return text[:at] + text[at + length :]
    if kind == "replace":
        return text[:at] + word + text[at + length :]
    # The likeliest mistake: another value behind a key.
    lines = text.split("\n")
    number = place % len(lines)
    key, colon, _ = lines[number].partition(": ")
    lines[number] = f"{key}{colon}{word}" if colon else word
    return "\n".join(lines)


def assert_told(files: dict[str, str]) -> None:
    workspace = load(Files(files))
    assert all(isinstance(problem, Problem) and problem.what and problem.line >= 1 for problem in workspace.problems)
    # Every journey is either good or says why not.
    ids = {path.split("/")[1].removesuffix(".yaml") for path in files if path.startswith("journeys/")}
    assert ids == set(workspace.versions) | set(workspace.broken)
    assert all(workspace.broken.values())
    for problem in workspace.problems:
        assert "Traceback" not in str(problem) and "pydantic" not in str(problem)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(PATHS), st.lists(edits, min_size=1, max_size=4))
def test_a_changed_file_never_raises(path: str, changes: list) -> None:
    text = SHIPPED[path]
    for change in changes:
        text = mutate(text, change)
    assert_told({**SHIPPED, path: text})


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(edits, min_size=1, max_size=3))
def test_a_changed_journey_never_raises(changes: list) -> None:
    path = "journeys/birthday_care.yaml"
    text = SHIPPED[path]
    for change in changes:
        text = mutate(text, change)
    assert_told({**SHIPPED, path: text})


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(st.sampled_from(PATHS), st.text(max_size=200))
def test_any_text_never_raises(path: str, text: str) -> None:
    assert_told({**SHIPPED, path: text})


@settings(max_examples=EXAMPLES // 4, deadline=None)
@given(st.lists(st.sampled_from(PATHS), min_size=1, max_size=4, unique=True))
def test_missing_files_never_raise(gone: list[str]) -> None:
    assert_told({path: text for path, text in SHIPPED.items() if path not in gone})


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.sampled_from(SNIPPETS))
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))
KEYS = ["journey", "title", "schedule", "starts_on", "timezone", "audience", "entry", "goal", "exit_when", "steps"]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(KEYS), trees))
@example({"steps": [{"id": {"a": 1}, "send": [1]}]})
@example({"steps": {"0": 1}})
@example({"audience": ["x"], "steps": [{"send": {"template": ["x"], "channels": [["sms"]]}}]})
@example({"entry": {"window": {"a": 1}, "reenter_after": [], "max_per_day": True}})
def test_any_shape_of_data_never_raises(data: dict) -> None:
    assert_told({**SHIPPED, "journeys/birthday_care.yaml": json.dumps(data)})
