"""YAML as marketers write it: plain data plus the line of every key. The only reader of YAML; knows no journey.

Stricter than YAML, because YAML's surprises are silent: a key written twice is a mistake, only true and false are
booleans (an unquoted yes, no, on or off is a mistake), 10:00 and 2026-11-01 stay text, tags are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.composer import Composer, ComposerError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from retention.errors import Problem
from retention.journey.notation import show
from retention.journey.yaml_mistakes import TOO_LARGE, explain_yaml_error

Path = tuple[str | int, ...]

_LARGEST = 20_000
"""Values in one document, aliases written out: a file that is larger is no journey."""


@dataclass
class Document:
    """What a YAML file says: `data` is a mapping (empty if the file can't be read), `problems` its mistakes as YAML.

    `lines` gives the line (from 1) of each key and each list item by its path, `empty` the keys without a value,
    `faulty` those whose value is not what it looks like, so that nothing more need be said about it.
    """

    path: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    empty: set[Path] = field(default_factory=set)
    faulty: set[Path] = field(default_factory=set)
    is_readable: bool = False

    def line(self, path: Path) -> int:
        """The line of the nearest thing on the way to `path` that is in the file."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)

    def complain(self, path: Path, what: str, remedy: str = "") -> None:
        """Add a problem at the line of `path`."""
        self.problems.append(Problem(self.path, self.line(path), what, remedy))


def find_stray_bytes(path: str, text: str) -> Problem | None:
    """The problem of a file that is not UTF-8 or holds control characters, or None."""
    found = re.search("[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]", text)
    if not found:
        return None
    line = text.count("\n", 0, found.start()) + 1
    if "\ud800" <= found[0] <= "\udfff":
        remedy = 'Save the file as "UTF-8" (Windows editors call other encodings ANSI or GBK).'
        return Problem(path, line, "this line has characters that are not UTF-8.", remedy)
    what = f"this line has an invisible control character (U+{ord(found[0]):04X})."
    return Problem(path, line, what, "Delete it, or type the line anew.")


class _Loader(Reader, Scanner, Parser, Composer):
    """PyYAML up to its tree of nodes; what plain words mean is decided in `_read_plain`."""

    def __init__(self, text: str):
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)

    def resolve(self, kind: type[Node], value: str | None, implicit: Any) -> str:
        return "plain" if kind is ScalarNode and implicit and implicit[0] else "said"

    def descend_resolver(self, parent: Node, index: Any) -> None: ...

    def ascend_resolver(self) -> None: ...


def read_document(path: str, text: str, *, kind: str = "journey") -> Document:
    """Read one YAML file. Never raises for bad content: every mistake is in `problems`, with `path` as it is given."""
    document = Document(path)
    stray = find_stray_bytes(path, text)
    if stray:
        document.problems.append(stray)
        return document
    try:
        root = _Loader(text).get_single_node()
        if root is None:
            document.complain((), "the file is empty.", f"Write a {kind} in it, or delete it.")
        elif not isinstance(root, MappingNode):
            found = show(_Conversion(document).convert(root, ()))
            document.complain((), f"the file holds {found}, not keys and values.", 'Write lines such as "title: ...".')
        else:
            document.data = _Conversion(document).convert(root, ())
            document.is_readable = True
    except yaml.YAMLError as error:
        document.problems.append(explain_yaml_error(path, text, error))
    except RecursionError:
        document.complain((), "brackets or lists lie too deep inside each other.", "Write it flatter.")
    return document


class _Conversion:
    """Turns nodes into plain data, noting lines and mistakes in the document."""

    def __init__(self, document: Document):
        self.document = document
        self.count = 0
        self.open: set[int] = set()

    def convert(self, node: Node, path: Path) -> Any:
        self.count += 1
        if self.count > _LARGEST or id(node) in self.open:
            # Aliases multiply, or one holds itself.
            raise ComposerError(problem=TOO_LARGE, problem_mark=node.start_mark)
        line = node.start_mark.line + 1
        self.document.lines.setdefault(path, line)
        if node.tag not in ("plain", "said"):
            what = f"the tag {show(node.tag)} is not used here."
            self._complain(line, path, what, "Delete the word beginning with !.")
        if isinstance(node, ScalarNode):
            self._check_letters(node, path, line)
            return self._read_plain(node, path, line) if node.tag == "plain" else node.value
        self.open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.convert(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._convert_mapping(node, path)
        finally:
            self.open.discard(id(node))

    def _convert_mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                what = "text that begins with { or [ means something else in YAML."
                self._complain(line, path, what, 'Put the whole value in quotes: "...".')
                continue
            self._check_letters(key_node, path, line)
            key = key_node.value
            if key in data:
                first = self.document.lines[(*path, key)]
                remedy = f"It stands in line {first} already; keep one of them."
                self._complain(line, path, f"the key {show(key)} is written twice.", remedy)
                continue
            self.document.lines[(*path, key)] = line
            if key_node.tag == "plain":
                self._read_plain(key_node, (*path, key), line, is_key=True)
            data[key] = self.convert(value_node, (*path, key))
        return data

    def _check_letters(self, node: ScalarNode, path: Path, line: int) -> None:
        """Escapes in quotes may spell what no file can hold: half a character."""
        if re.search("[\ud800-\udfff]", node.value):
            node.value = re.sub("[\ud800-\udfff]", "\ufffd", node.value)
            remedy = "Write the character itself, or all of it: \\U0001F381."
            self._complain(line, path, "there is half a character in this text.", remedy)

    def _read_plain(self, node: ScalarNode, path: Path, line: int, *, is_key: bool = False) -> Any:
        word = node.value
        if word in ("true", "false"):
            return word == "true"
        if word.lower() in ("yes", "no", "on", "off"):
            boolean = "true" if word.lower() in ("yes", "on") else "false"
            remedy = f'Write {boolean}, or "{word}" in quotes.'
            if is_key:
                remedy = f'Put it in quotes if it is a word: "{word}".'
            self._complain(line, path, f"an unquoted {word} reads as a boolean elsewhere.", remedy)
            return boolean == "true"
        if is_key:
            return word
        if word in ("", "~", "null", "Null", "NULL"):
            self.document.empty.add(path)
            return None
        if re.fullmatch(r"[-+]?(0|[1-9][0-9]{0,14})", word):
            return int(word)
        if re.fullmatch(r"[-+]?[0-9]{1,15}\.[0-9]{1,15}", word):
            return float(word)
        return word

    def _complain(self, line: int, path: Path, what: str, remedy: str) -> None:
        self.document.faulty.add(path)
        place = write_path(path, {})
        self.document.problems.append(Problem(self.document.path, line, f"{place}{what}", remedy))


def write_path(path: Path, data: dict[str, Any]) -> str:
    """The place of a value for people, ending in ": ": `steps[0] (hello): send.channels: `, or nothing at the top."""
    text, rest = "", path
    if len(path) >= 2 and path[0] == "steps" and isinstance(path[1], int):
        text, rest = f"steps[{path[1]}]{_name_step(data, path[1])}: ", path[2:]
    dotted = ""
    for part in rest:
        dotted += f"[{part}]" if isinstance(part, int) else f".{part}" if dotted else str(part)
    return text + (f"{dotted}: " if dotted else "")


def _name_step(data: dict[str, Any], index: int) -> str:
    steps = data.get("steps")
    step = steps[index] if isinstance(steps, list) and index < len(steps) else None
    name = step.get("id") if isinstance(step, dict) else None
    return f" ({name})" if isinstance(name, str) and re.fullmatch(r"\w{1,60}", name) else ""
