"""The YAML reader: what it keeps as text, what it refuses, and that nothing gets past it as an exception."""

from __future__ import annotations

import pytest

from retention.journey.document import read_document


def told(text: str) -> list[str]:
    return [str(problem) for problem in read_document("x.yaml", text).problems]


def test_only_true_and_false_are_booleans() -> None:
    document = read_document("x.yaml", "a: true\nb: false\nc: True\nd: 'no'\ne: \"yes\"\n")
    assert document.data == {"a": True, "b": False, "c": "True", "d": "no", "e": "yes"}
    assert not document.problems


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "Yes", "NO", "On", "OFF"])
def test_unquoted_yes_and_no_are_mistakes(word: str) -> None:
    assert told(f"a: 1\nlive: {word}\n")[0].startswith(f"x.yaml:2: live: an unquoted {word} reads as a boolean")
    assert told(f"a: 1\n{word}: b\n")[0].startswith(f"x.yaml:2: {word}: an unquoted {word} reads as a boolean")


def test_times_dates_and_odd_numbers_stay_text() -> None:
    text = "a: 10:00\nb: 2026-11-01\nc: 010\nd: 1_000\ne: 0x1f\nf: 1e3\ng: 10%\nh: 3d\ni: .5\nj: .inf\n"
    assert all(isinstance(value, str) for value in read_document("x.yaml", text).data.values())


def test_plain_numbers_are_numbers() -> None:
    assert read_document("x.yaml", "a: 7\nb: -3\nc: 0.5\nd: '7'\n").data == {"a": 7, "b": -3, "c": 0.5, "d": "7"}


def test_lines_are_those_of_the_keys() -> None:
    document = read_document("x.yaml", "# a comment\na: 1\n\nsteps:\n  - id: one\n    send: {b: 2,\n      c: 3}\n")
    assert document.line(("a",)) == 2
    assert document.line(("steps", 0)) == 5
    assert document.line(("steps", 0, "send", "c")) == 7
    # What is not there is looked for where it would have to be.
    assert document.line(("steps", 0, "send", "missing")) == 6


def test_anchors_are_written_out() -> None:
    document = read_document("x.yaml", "a: &both [sms, email]\nb: *both\n")
    assert document.data == {"a": ["sms", "email"], "b": ["sms", "email"]} and not document.problems


def test_aliases_that_never_end_are_refused() -> None:
    assert "holds more values" in told("a: &a\n  b: *a\n")[0]
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    assert "holds more values" in told(bomb)[0]


def test_brackets_without_end_are_refused() -> None:
    assert len(told("a: " + "[" * 5000 + "]" * 5000)) == 1


@pytest.mark.parametrize("text", ["a: \x00", "a: \x07b", "a: \ud800", "a: \udcff", "\ufffe"])
def test_stray_bytes_are_named_with_their_line(text: str) -> None:
    assert told("b: 1\n" + text)[0].startswith("x.yaml:2: this line has")


def test_a_document_with_mistakes_is_still_read_as_far_as_it_goes() -> None:
    document = read_document("x.yaml", "a: 1\na: 2\nb: no\nc: 3\n")
    assert document.is_readable and document.data == {"a": 1, "b": False, "c": 3}
    assert [problem.line for problem in document.problems] == [2, 3]
