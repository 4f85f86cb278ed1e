"""A mapping: how the rows of a file or a query become facts. Owns the grammar of include/mappings/*.yaml; reads no row.

mapping: crm_contacts             # the file's name
source: crm                       # the system the rows come from
timezone: Asia/Shanghai           # of moments written without a zone
country: CN                       # of phone numbers written without one
file: {encoding: gb18030, delimiter: ";"}    # only what can't be seen from the file
lookups:
  products: {file: Products.csv, key: ProductKey}
rows:                             # what one row of the file becomes
  - into: customers
    customer_id: ContactID        # a column's name ...
    birthday: {column: Born, format: "%m/%d/%Y"}     # ... or how to read it
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from retention.errors import ConfigError, Problem
from retention.intake.mapping import Block, Cell, FileFormat, Lookup, Mapping
from retention.intake.targets import DEFAULTS, FREE_KINDS, TARGETS
from retention.journey.document import Document, read_document
from retention.journey.notation import did_you_mean, list_options, parse_timezone, show

FOLDER = "mappings"
ENCODINGS = "utf-8, gb18030, big5, cp1252, shift_jis, utf-16"


def find_mapping(given: str, include: Path) -> Path:
    """The file of a mapping that is named by its path or, for one in include/mappings, by its id.

    Raises ConfigError when there is none.
    """
    path = Path(given)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    at_home = include / FOLDER / f"{given}.yaml"
    if at_home.is_file():
        return at_home
    known = [p.stem for p in sorted((include / FOLDER).glob("*.yaml"))]
    hint = did_you_mean(given, known) or list_options("There is", known)
    remedy = f"{hint} `retention import --guess FILE` writes a first one."
    raise ConfigError([Problem(given, 1, "there is no such mapping.", remedy)])


def read_mapping(path: Path) -> Mapping:
    """The mapping of a file. Raises ConfigError with every mistake in it."""
    try:
        text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    except OSError as error:
        problem = Problem(str(path), 1, f"the file can't be opened ({error.strerror}).", "Correct its permissions.")
        raise ConfigError([problem]) from None
    return parse_mapping(_shown(path), text, path.stem)


def _shown(path: Path) -> str:
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()


def parse_mapping(shown: str, text: str, name: str) -> Mapping:
    """The mapping written in `text`; `shown` is its path in messages. Raises ConfigError with every mistake in it."""
    document = read_document(shown, text.removeprefix("\ufeff"), kind="mapping")
    mapping = _Reader(document, name).read() if document.is_readable else None
    if document.problems or mapping is None:
        raise ConfigError(document.problems)
    return mapping


_TOP = ("mapping", "title", "source", "timezone", "country", "file", "lookups", "rows")
_CELL = (
    "column", "columns", "join", "value", "lookup", "map", "otherwise", "strip", "default", "format", "decimal",
    "calendar", "prefix", "hash", "times", "as",
)  # fmt: skip
_FILE = ("encoding", "delimiter", "quote", "header", "columns", "skip_lines", "sheet")
_BLOCK = ("into", "unless_empty", "only", "gone")

_CODES = set("Y y m d H I M S p z #z b B .f f j T F D e s".split())
"""What a format of a date may hold."""

DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "whitespace": "whitespace"}


class _Reader:
    """Turns a document into a mapping, noting every mistake at its line."""

    def __init__(self, document: Document, name: str):
        self.document, self.name = document, name

    def read(self) -> Mapping | None:
        data = self.document.data
        self._only_known((), data, _TOP)
        name = self._text(("mapping",), data.get("mapping"), r"\w[\w-]{0,59}", "Write the file's name.")
        if name and name != self.name:
            self._complain(("mapping",), f"{show(name)} is not the file's name.", f"Write mapping: {self.name}.")
        source = self._text(
            ("source",), data.get("source", name), r"\w[\w.-]{0,59}", "Name the system the rows come from: source: crm."
        )
        country = data.get("country")
        if country is not None:
            country = self._text(("country",), country, r"[A-Z]{2}", "Write two capital letters: CN.")
        mapping = Mapping(
            name=name or "",
            source=source or "",
            path=self.document.path,
            timezone=self._timezone(data.get("timezone", "Asia/Shanghai")),
            country=country,
            format=self._format(data.get("file", {})),
            lookups=self._lookups(data.get("lookups", {})),
            blocks=self._blocks(data.get("rows")),
        )
        self._check_lookups(mapping)
        return mapping

    # --- the parts --------------------------------------------------------------------------------------------------

    def _timezone(self, value: Any) -> str:
        try:
            return parse_timezone(value)
        except Exception as error:
            self._complain(("timezone",), str(error))
            return "UTC"

    def _format(self, data: Any) -> FileFormat:
        if not self._is_group(("file",), data, _FILE):
            return FileFormat()
        columns = data.get("columns")
        if columns is not None and not (isinstance(columns, list) and all(isinstance(c, str) for c in columns)):
            self._complain(("file", "columns"), f"{show(columns)} is not a list of names.", "Write [id, date, amount].")
            columns = None
        delimiter = data.get("delimiter")
        if delimiter is not None:
            delimiter = DELIMITERS.get(str(delimiter), str(delimiter))
            if delimiter != "whitespace" and len(delimiter.encode()) != 1:
                remedy = 'Write one character in quotes, or tab, or whitespace: delimiter: ";".'
                self._complain(("file", "delimiter"), f"{show(delimiter)} is not one character.", remedy)
                delimiter = None
        encoding = data.get("encoding")
        if encoding is not None and not _is_encoding(encoding):
            self._complain(("file", "encoding"), f"{show(encoding)} is no encoding.", f"Write one of {ENCODINGS}.")
            encoding = None
        quote = data.get("quote", '"')
        if not isinstance(quote, str) or len(quote.encode()) != 1:
            self._complain(("file", "quote"), f"{show(quote)} is not one character.", 'Leave it out for "...".')
            quote = '"'
        skip = data.get("skip_lines", 0)
        if not isinstance(skip, int) or isinstance(skip, bool) or skip < 0:
            self._complain(("file", "skip_lines"), f"{show(skip)} is not a number of lines.", "Write 0 or more.")
            skip = 0
        header = data.get("header", columns is None)
        if not isinstance(header, bool):
            self._complain(("file", "header"), f"{show(header)} is not true or false.", "Write true or false.")
            header = True
        if not header and columns is None:
            self._complain(("file",), "a file without a header needs names.", "Write columns: [id, date, ...].")
        sheet = data.get("sheet")
        names = tuple(columns) if columns is not None else None
        return FileFormat(encoding, delimiter, quote, header, names, skip, None if sheet is None else str(sheet))

    def _lookups(self, data: Any) -> dict[str, Lookup]:
        found: dict[str, Lookup] = {}
        if not self._is_group(("lookups",), data, None):
            return found
        for name, entry in data.items():
            place = ("lookups", name)
            if not self._is_group(place, entry, ("file", "key")):
                continue
            file, key = entry.get("file"), entry.get("key")
            if not isinstance(file, str) or "/" in file or "\\" in file or file.startswith("."):
                remedy = "Write the name of a file that lies beside the imported one: {file: Products.csv, key: ID}."
                self._complain(place, f"{show(file)} is not a file's name.", remedy)
            elif not isinstance(key, str):
                self._complain(place, f"key: {show(key)} is not a column.", "Write the column to look in.")
            else:
                found[name] = Lookup(file, key)
        return found

    def _blocks(self, data: Any) -> tuple[Block, ...]:
        if not isinstance(data, list) or not data:
            remedy = "Write what a row becomes: rows: with - into: customers and its fields."
            what = "the list is empty." if data == [] else f"{show(data)} is not a list of tables."
            self._complain(("rows",), what, remedy)
            return ()
        found = [self._block(("rows", i), entry) for i, entry in enumerate(data)]
        return tuple(block for block in found if block)

    def _block(self, place: tuple, data: Any) -> Block | None:
        if not isinstance(data, dict):
            self._complain(place, f"{show(data)} is not a group of keys.", "Write into: and the fields under it.")
            return None
        into = data.get("into")
        if into not in TARGETS:
            hint = did_you_mean(into, TARGETS) or list_options("Tables", TARGETS)
            what = "the key into is missing." if into is None else f"into: {show(into)} is no table of facts."
            self._complain((*place, "into") if "into" in data else place, what, hint)
            return None
        target = TARGETS[into]
        known = (*_BLOCK, *target.fields, *([target.free] if target.free else []))
        self._only_known(place, data, known, f" of {into}")
        cells = {
            name: cell
            for name in target.fields
            if name in data and (cell := self._cell((*place, name), data[name], target.fields[name].kind))
        }
        for name, about in target.fields.items():
            if name in data or not about.is_required:
                continue
            if (into, name) in DEFAULTS:
                cells[name] = Cell(value=DEFAULTS[into, name])
            else:
                remedy = f"Say which column holds it: {name}: COLUMN."
                self._complain(place, f"{into} needs {name}.", remedy)
        if ("amount" in cells or "price" in cells) and "currency" not in cells:
            self._complain(
                place, f"{into}: an amount needs its currency.", "Write currency: {value: CNY}, or a column."
            )
        if into == "orders" and "currency" in cells and "amount" not in cells:
            del cells["currency"]
        return Block(
            into=into,
            cells=cells,
            free=self._free((*place, target.free), data.get(target.free)) if target.free else {},
            line=self.document.line(place),
            unless_empty=self._column((*place, "unless_empty"), data.get("unless_empty")),
            only=self._only((*place, "only"), data.get("only")),
            gone=self._cell((*place, "gone"), data["gone"], "boolean") if "gone" in data else None,
        )

    def _free(self, place: tuple, data: Any) -> dict[str, Cell]:
        if data is None:
            return {}
        if not isinstance(data, dict):
            self._complain(place, f"{show(data)} is not a group of keys.", "Write {name: COLUMN, ...}.")
            return {}
        found = {}
        for name, entry in data.items():
            if not re.fullmatch(r"\w[\w .-]{0,59}", name):
                self._complain((*place, name), f"{show(name)} is no name.", "Use letters, digits and _.")
            elif cell := self._cell((*place, name), entry, None):
                found[name] = cell
        return found

    def _only(self, place: tuple, data: Any) -> dict[str, tuple[str, ...]]:
        if data is None:
            return {}
        if not isinstance(data, dict):
            self._complain(place, f"{show(data)} is not a group of keys.", "Write {Status: [paid, shipped]}.")
            return {}
        words = {column: value if isinstance(value, list) else [value] for column, value in data.items()}
        return {column: tuple(_as_text(word) for word in listed) for column, listed in words.items()}

    def _column(self, place: tuple, value: Any) -> str | None:
        if value is None or isinstance(value, str):
            return value
        self._complain(place, f"{show(value)} is not a column.", "Write a column's name.")
        return None

    def _cell(self, place: tuple, data: Any, kind: str | None) -> Cell | None:
        if isinstance(data, str | int) and not isinstance(data, bool):
            return Cell(columns=(str(data),), kind="text" if kind is None else None)
        if not isinstance(data, dict):
            remedy = "Write a column's name, or {column: NAME, ...}, or {value: ...}."
            self._complain(place, f"{show(data)} is not a way to fill a field.", remedy)
            return None
        self._only_known(place, data, _CELL)
        columns = data.get("columns", [data["column"]] if "column" in data else [])
        if not isinstance(columns, list) or not all(isinstance(c, str | int) for c in columns):
            self._complain(place, f"columns: {show(columns)} is not a list of columns.", "Write [First, Last].")
            return None
        value = data.get("value")
        if (value is None) == (not columns):
            remedy = "Write either column: NAME or value: a constant."
            self._complain(place, "it is not said where the value comes from.", remedy)
            return None
        formats = data.get("format", [])
        formats = formats if isinstance(formats, list) else [formats]
        for entry in formats:
            self._check_format(place, entry, kind)
        return Cell(
            columns=tuple(str(c) for c in columns),
            value=None if value is None else _as_text(value),
            join=str(data.get("join", " ")),
            lookup=self._lookup((*place, "lookup"), data.get("lookup")),
            value_map=self._map((*place, "map"), data.get("map")),
            otherwise=self._choice((*place, "otherwise"), data.get("otherwise", "reject"), ("reject", "keep", "empty")),
            strip=None if data.get("strip") is None else str(data["strip"]),
            default=None if data.get("default") is None else _as_text(data["default"]),
            formats=tuple(str(f) for f in formats),
            decimal=self._choice((*place, "decimal"), data.get("decimal", "."), (".", ",")),
            calendar=self._choice((*place, "calendar"), data.get("calendar", "solar"), ("solar", "lunar")),
            prefix=str(data.get("prefix", "")),
            is_hashed=self._choice((*place, "hash"), data.get("hash", False), (True, False)),
            times=self._cell((*place, "times"), data["times"], "number") if "times" in data else None,
            kind=self._choice((*place, "as"), data.get("as", "text"), FREE_KINDS) if kind is None else None,
        )

    def _check_format(self, place: tuple, value: Any, kind: str | None) -> None:
        codes = set(re.findall(r"%([-_0#.]*\d*[A-Za-z%])", str(value)))
        place = (*place, "format")
        if not codes or {code for code in codes if code[-1:] != "f"} - _CODES:
            remedy = 'Write it with %Y %m %d %H %M %S: "%d.%m.%Y %H:%M".'
            self._complain(place, f"{show(value)} is not a format of a date.", remedy)
        elif kind == "birthday" and codes - {"Y", "m", "d", "F"}:
            remedy = 'Write it with %Y, %m and %d alone: "%m/%d/%Y", or "%m-%d" without a year.'
            self._complain(place, f"{show(value)} is not a format of a birthday.", remedy)
        elif kind != "birthday" and not (codes & {"s", "F", "D"} or codes & {"Y", "y"} and codes & {"d", "j"}):
            remedy = 'Write the whole date: "%d.%m.%Y %H:%M".'
            self._complain(place, f"{show(value)} is a format without a day, a month or a year.", remedy)
        elif ("I" in codes) != ("p" in codes):
            remedy = 'Hours are %H up to 24, or %I together with %p: "%Y-%m-%d %I:%M %p".'
            self._complain(place, f"{show(value)} does not say which half of the day.", remedy)

    def _lookup(self, place: tuple, value: Any) -> tuple[str, str] | None:
        if value is None:
            return None
        name, dot, column = str(value).partition(".")
        if not dot or not column:
            remedy = "Write LOOKUP.COLUMN, the look-up's name from the key lookups."
            self._complain(place, f"{show(value)} is not a look-up.", remedy)
            return None
        return name, column

    def _map(self, place: tuple, value: Any) -> dict[str, str] | None:
        if value is None:
            return None
        if not isinstance(value, dict) or any(isinstance(v, dict | list) for v in value.values()):
            self._complain(place, f"{show(value)} is not a value map.", 'Write {"Y": true, "N": false}.')
            return None
        return {key: "" if new is None else _as_text(new) for key, new in value.items()}

    def _choice(self, place: tuple, value: Any, options: tuple) -> Any:
        if value in options:
            return value
        remedy = list_options("Write one of", [show(o) if isinstance(o, bool) else str(o) for o in options])
        self._complain(place, f"{show(value)} is not known here.", remedy)
        return options[0]

    def _check_lookups(self, mapping: Mapping) -> None:
        for block in mapping.blocks:
            for name, cell in {**block.cells, **block.free}.items():
                for it in (cell, cell.times):
                    if it and it.lookup and it.lookup[0] not in mapping.lookups:
                        hint = did_you_mean(it.lookup[0], mapping.lookups) or "Write it under lookups."
                        problem = f"rows: {block.into}.{name}: there is no look-up {show(it.lookup[0])}."
                        self.document.problems.append(Problem(self.document.path, block.line, problem, hint))

    # --- the small things -------------------------------------------------------------------------------------------

    def _complain(self, place: tuple, what: str, remedy: str = "") -> None:
        if place in self.document.faulty:
            return
        self.document.complain(place, _write_place(place) + what, remedy)

    def _only_known(self, place: tuple, data: dict, known: tuple[str, ...], where: str = "") -> None:
        for key in data:
            if key not in known:
                hint = did_you_mean(key, known) or list_options(f"Keys{where}", known)
                self._complain((*place, key), "unknown key.", hint)

    def _is_group(self, place: tuple, data: Any, known: tuple[str, ...] | None) -> bool:
        if not isinstance(data, dict):
            self._complain(place, f"{show(data)} is not a group of keys.", "Write keys under it.")
            return False
        if known is not None:
            self._only_known(place, data, known)
        return True

    def _text(self, place: tuple, value: Any, pattern: str, remedy: str) -> str | None:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        what = "the key is missing." if value is None else f"{show(value)} does not fit here."
        self._complain(place, what, remedy)
        return None


def _write_place(place: tuple) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    return f"{text}: " if text else ""


def _as_text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _is_encoding(value: Any) -> bool:
    try:
        "a".encode(str(value))
        return str(value).lower().replace("_", "-") not in ("idna", "punycode", "raw-unicode-escape", "unicode-escape")
    except (LookupError, UnicodeError):
        return False
