"""What to say when a file is not YAML at all: PyYAML's words turned into the mistake a person made. Reads no file."""

from __future__ import annotations

import re

import yaml

from retention.errors import Problem
from retention.journey.notation import FULL_WIDTH, say_full_width

TOO_LARGE = "the file holds more values than any journey needs"
_QUOTE = 'Put the whole value in quotes: "...".'


def explain_yaml_error(path: str, text: str, error: yaml.YAMLError) -> Problem:
    """One problem for one YAML error: the line where the person should look, what is wrong there, what to do."""
    mark = getattr(error, "problem_mark", None)
    context_mark = getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", "") or "")
    context = str(getattr(error, "context", "") or "")
    lines = text.split("\n")
    line = _last_written(lines, mark.line if mark else 0)
    start = context_mark.line if context_mark else line
    # A value that never ended is noticed at the end of the file, but the mistake is where it began.
    began_earlier = "could not find expected ':'" in problem or "end of stream" in problem or "flow " in context
    where = start if began_earlier else line
    if "block" in problem + context:
        opened = _find_open_quote(lines, line)
        if opened != line:
            return Problem(path, opened + 1, "a quotation mark opened in this line is never closed.", "Close it with the same mark.")
    what, remedy = _name_mistake(problem, context, lines, where, line, mark.column if mark else 0)
    return Problem(path, where + 1, what, remedy)


def _find_open_quote(lines: list[str], where: int) -> int:
    """The line above that opens a quotation mark and does not close it: it went on until the next one. Else the line itself."""
    for number in range(where - 1, -1, -1):
        if re.search(r""":\s+(?:"(?:[^"\\]|\\.)*|'[^']*)$""", lines[number]):
            return number
    return where


def _last_written(lines: list[str], line: int) -> int:
    line = min(line, len(lines) - 1)
    while line > 0 and not lines[line].strip():
        line -= 1
    return line


def _name_mistake(
    problem: str, context: str, lines: list[str], where: int, seen: int, column: int
) -> tuple[str, str]:
    near = [lines[where], *([lines[where - 1]] if where else [])]
    for content in near:
        bare = content.split(" #")[0]
        wide = next((c for c in bare if c in FULL_WIDTH), None)
        if wide and (wide != "，" and ": " not in bare.split(wide)[0] or wide in "“”" and ": “" in bare):
            return f"this line has {say_full_width(wide)[0]}.", say_full_width(wide)[1]
    if problem == TOO_LARGE:
        return f"{problem}.", "Write it shorter; look for an alias (*name) inside its own anchor (&name)."
    content = lines[where]
    char = lines[seen][column : column + 1] if seen < len(lines) else ""
    if re.match(r"[ ]*\t", content) or "'\\t'" in problem:
        return "a tab stands at the beginning or in the middle of this line.", "Use spaces."
    if "\u3000" in content or "\xa0" in content:
        return "this line has a wide or non-breaking space.", "Use ordinary spaces."
    if re.search(r":\s*\{\{", content):
        return "a value begins with {{, which means something else in YAML.", _QUOTE
    if "alias" in context or "undefined alias" in problem:
        return "a value begins with *, which means something else in YAML.", _QUOTE
    if "anchor" in context or "anchor" in problem:
        return "a value begins with &, which means something else in YAML.", _QUOTE
    if "cannot start any token" in problem:
        return f"a value begins with {char or 'a special character'}, which means something else in YAML.", _QUOTE
    if "mapping values are not allowed" in problem:
        if len(re.findall(r":(?= |$)", content)) > 1:
            return 'there is a second ":" in this line.', "Put the value in quotes."
        return "this line is indented more than the one above it.", "Begin it in the same column as its neighbours."
    if "expected ':'" in problem:
        if re.match(r"\s*(- )?[A-Za-z_]+:\S", content):
            return "there is no space after the colon.", 'Write "key: value".'
        return "this line is neither a key with a value nor part of a list.", 'Write "key: value".'
    if "quoted scalar" in context:
        if "escape" in problem or "expected escape" in problem:
            return "a backslash inside double quotes means something else in YAML.", "Use single quotes: '...'."
        return "a quotation mark opened in this line is never closed.", "Close it with the same mark."
    if "flow mapping" in context or "flow sequence" in context:
        bracket = "{" if "mapping" in context else "["
        closing = "}" if bracket == "{" else "]"
        remedy = f"Close it with {closing}, and put commas between the items."
        return f"a {bracket} opened in this line is not closed properly.", remedy
    if "block" in problem + context:
        if "sequence entries are not allowed" in problem:
            return "a list item can't begin here.", 'Put "- " on a line of its own under its key.'
        return "this line does not fit the indentation above it.", "Begin it in the same column as its neighbours."
    if "single document" in problem or "single document" in context:
        return 'a second document begins here ("---").', "Keep one journey in a file; delete the line."
    if "tag" in context:
        return "a value begins with !, which means something else in YAML.", _QUOTE
    if "directive" in context:
        return "a line begins with %, which means something else in YAML.", "Delete it, or put the value in quotes."
    said = f" ({problem})" if problem else ""
    return f"this can't be read as YAML{said}.", "Compare the line with a journey that works."
