"""A mapping, checked: how the rows of a file or a query become facts. Data, no work; mapping_file.py reads it."""

from __future__ import annotations

from dataclasses import dataclass, field

LINE = "#line"
"""A column every source has: the line a row begins in."""


@dataclass(frozen=True)
class Cell:
    """How one field is read from a row: from `columns` (joined by `join` when several) or as the constant `value`.

    In this order: look-up, value map, `strip`, default; then it is read as the field's kind in one of `formats`, and
    multiplied by `times`. `kind` is set for attributes only.
    """

    columns: tuple[str, ...] = ()
    value: str | None = None
    join: str = " "
    lookup: tuple[str, str] | None = None
    value_map: dict[str, str] | None = None
    otherwise: str = "reject"
    strip: str | None = None
    default: str | None = None
    formats: tuple[str, ...] = ()
    decimal: str = "."
    calendar: str = "solar"
    prefix: str = ""
    is_hashed: bool = False
    times: Cell | None = None
    kind: str | None = None

    def needs(self) -> set[str]:
        """The columns it reads."""
        return set(self.columns) | (self.times.needs() if self.times else set())


@dataclass(frozen=True)
class Block:
    """What one row becomes in one table. It does so only if `unless_empty` is filled and every column of `only` holds one
    of its words; `gone`: a column that says the row was deleted at the source. `line` is the block's line in the file."""

    into: str
    cells: dict[str, Cell]
    free: dict[str, Cell]
    line: int
    unless_empty: str | None = None
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)
    gone: Cell | None = None

    def needs(self) -> set[str]:
        found = {self.unless_empty} if self.unless_empty else set()
        found |= set(self.only)
        for cell in (*self.cells.values(), *self.free.values(), *([self.gone] if self.gone else [])):
            found |= cell.needs()
        return found


@dataclass(frozen=True)
class FileFormat:
    """What can't be seen from the file itself; None: found out by looking."""

    encoding: str | None = None
    delimiter: str | None = None
    quote: str = '"'
    header: bool = True
    columns: tuple[str, ...] | None = None
    skip_lines: int = 0
    sheet: str | None = None


@dataclass(frozen=True)
class Lookup:
    """A second file, found beside the first one, by its `key` column."""

    file: str
    key: str


@dataclass(frozen=True)
class Mapping:
    """One mapping, checked. `path` is its file, for messages."""

    name: str
    source: str
    path: str
    timezone: str
    country: str | None
    format: FileFormat
    lookups: dict[str, Lookup]
    blocks: tuple[Block, ...]

    def needs(self) -> set[str]:
        """The columns that must be there."""
        return set().union(*(block.needs() for block in self.blocks)) - {LINE}

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables it fills, each once, in the order of the file."""
        return tuple(dict.fromkeys(block.into for block in self.blocks))
