"""What is read from other databases, and when: include/sync.yaml. Owns its grammar; connects to nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StrictBool, ValidationError

from retention.errors import ConfigError, Problem
from retention.intake.mapping import LINE, Block, Mapping
from retention.intake.mapping_file import FOLDER, parse_mapping
from retention.intake.targets import TARGETS
from retention.journey.document import Document, read_document
from retention.journey.explain import explain_errors
from retention.journey.fields import Duration, Percent, Schedule, Zone
from retention.journey.notation import did_you_mean, list_options, refuse, show

FILE = "sync.yaml"
PREFIX = "include/"
COMPLETE_TABLES = ("customers", "orders")
"""Tables whose rows can be found to be gone."""

LAST_TASK = "all_in"
"""The task that closes the DAG; no mapping may be called so."""

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,59}"
_COLUMN = r'[^\W\d][\w$#]*|"[^"]+"|`[^`]+`|\[[^\]]+\]'


def _parse_mapping_name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_NAME, value):
        remedy = "It names a file of include/mappings without .yaml, in letters, digits, _ and -."
        raise refuse(f"{show(value)} is no mapping.", remedy)
    if value == LAST_TASK:
        raise refuse(f"{show(value)} is the name of a task every run has.", "Call the mapping otherwise.")
    return value


def _parse_connection(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[\w.\-]{1,200}", value):
        return value
    remedy = "Write the id of an Airflow Connection; its address and password stay there."
    # An address may hold a password, and errors end in logs.
    given = "this is an address," if isinstance(value, str) and "/" in value else f"{show(value)} is"
    raise refuse(f"{given} not the id of a Connection.", remedy)


def _parse_query(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise refuse(f"{show(value)} is no query.", "Write query: | and the select in the lines below it.")
    text = re.sub(r"[;\s]+$", "", value)
    # What is left without comments and quoted text shows how the query is made.
    bare = re.sub(r"--[^\n]*|/\*.*?\*/|'[^']*'|\"[^\"]*\"", " ", text, flags=re.DOTALL).strip()
    if ";" in bare:
        raise refuse("there is more than one statement.", "Write one select; the rest belongs into a view.")
    if not re.match(r"(select|with|\()\b|\(", bare, re.IGNORECASE):
        raise refuse(f"{show(bare.split(None, 1)[0] if bare else bare)} begins no query.", "Write one select.")
    return text


def _parse_watermark(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(_COLUMN, value):
        return value
    remedy = 'Write the name of a column of the query as SQL would: updated_at, or "Updated At" with its quotes.'
    raise refuse(f"{show(value)} is no column.", remedy)


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceEntry(_Block):
    """One query, and how it is read. The YAML's keys."""

    mapping: Annotated[str, PlainValidator(_parse_mapping_name)] = Field(
        description="The mapping that the query's rows are read by, a file of include/mappings."
    )
    connection: Annotated[str, PlainValidator(_parse_connection)] = Field(
        description="The id of the Airflow Connection to the database."
    )
    query: Annotated[str, PlainValidator(_parse_query)] = Field(description="One select, in the database's own SQL.")
    watermark: Annotated[str, PlainValidator(_parse_watermark)] | None = Field(
        default=None,
        description="A column that grows with every change of a row: updated_at, version. Only what is newer is read.",
    )
    overlap: Duration = Field(
        default=timedelta(hours=1),
        description="How far back is read again, for rows that were committed late.",
    )
    complete: StrictBool = Field(default=False, description="The query is whole: what it lacks is gone.")
    compare_keys: StrictBool = Field(
        default=False, description="Fetch all keys each time; what is not among them is gone."
    )
    most_gone: Percent | None = Field(
        default=None, description="If more than this share is gone, nothing is believed. Left out: 5%."
    )


class SyncFile(_Block):
    """include/sync.yaml: when, and what."""

    schedule: Schedule = Field(default="*/30 * * * *", description="When the DAG crm_sync runs: a cron line.")
    timezone: Zone = Field(default="Asia/Shanghai", description="The time zone of the schedule.")
    sources: tuple[SourceEntry, ...] = Field(
        default=(), description="The queries, in the order in which they are read."
    )


@dataclass(frozen=True)
class SourcePlan:
    """One source, checked. `where` is its line in the file, for messages; `folder` is where look-ups lie; `most_gone`
    is None where the file says nothing."""

    mapping: str
    connection: str
    query: str
    watermark: str | None = None
    overlap: timedelta = timedelta(hours=1)
    is_complete: bool = False
    compare_keys: bool = False
    most_gone: float | None = None
    where: str = "include/sync.yaml"
    folder: Path = Path()


@dataclass
class Sync:
    """What the files say. `names`: every source that has a name, in order, those included that are wrong; `plans` and
    `mappings`: those that are right. `schedule` is None where the file's can't be read."""

    schedule: str | None = None
    timezone: str = "Asia/Shanghai"
    names: tuple[str, ...] = ()
    plans: dict[str, SourcePlan] = field(default_factory=dict)
    mappings: dict[str, Mapping] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def find_problems(include: Path) -> list[Problem]:
    """Everything that is wrong with include/sync.yaml and the mappings beside it."""
    return read_sync(include).problems


def find_source(include: Path, name: str) -> tuple[Mapping, SourcePlan]:
    """A source and its mapping. Raises ConfigError with what is wrong with the two."""
    sync = read_sync(include)
    if name in sync.plans:
        return sync.mappings[name], sync.plans[name]
    own = f"{PREFIX}{FOLDER}/{name}.yaml"
    what = f"there is no source {show(name)} any more." if name not in sync.names else f"source {show(name)} is wrong."
    concerned = [problem for problem in sync.problems if problem.path in (own, PREFIX + FILE)]
    raise ConfigError(concerned or [Problem(PREFIX + FILE, 1, what, list_options("Sources", sync.names))])


def read_sync(include: Path) -> Sync:
    """include/sync.yaml and all mappings below `include`. Never raises for what they hold: mistakes are in `problems`."""
    sync = Sync()
    _read_mappings(include, sync)
    path = include / FILE
    if not path.exists():
        return sync
    shown = PREFIX + FILE
    try:
        text = path.read_bytes().decode("utf-8", errors="surrogateescape").removeprefix("\ufeff")
    except OSError as error:
        what = f"the file can't be opened ({error.strerror})."
        sync.problems.append(Problem(shown, 1, what, "Correct its permissions."))
        return sync
    document = read_document(shown, text, kind="list of sources")
    if document.is_readable:
        _Reader(document, include, sync).read()
    sync.problems = sorted({*sync.problems, *document.problems})
    return sync


def _read_mappings(include: Path, sync: Sync) -> None:
    for path in sorted((include / FOLDER).glob("*.yaml")):
        shown = f"{PREFIX}{FOLDER}/{path.name}"
        try:
            text = path.read_bytes().decode("utf-8", errors="surrogateescape")
            sync.mappings[path.stem] = parse_mapping(shown, text, path.stem)
        except ConfigError as error:
            sync.problems += error.problems
        except OSError as error:
            what = f"the file can't be opened ({error.strerror})."
            sync.problems.append(Problem(shown, 1, what, "Correct its permissions."))


class _Reader:
    """Turns the document into plans, noting every mistake at its line."""

    def __init__(self, document: Document, include: Path, sync: Sync):
        self.document, self.include, self.sync = document, include, sync
        self._broken = {path.stem for path in (include / FOLDER).glob("*.yaml")} - set(sync.mappings)
        self._numbers: dict[str, int] = {}

    def read(self) -> None:
        has_slips = bool(self.document.problems)
        data = self.document.data
        try:
            SyncFile.model_validate(data)
        except ValidationError as error:
            explain_errors(self.document, SyncFile, error)
        head = {key: data[key] for key in ("schedule", "timezone") if key in data}
        try:
            read = SyncFile.model_validate(head)
            self.sync.schedule, self.sync.timezone = read.schedule, read.timezone
        except ValidationError:
            self.sync.schedule = None
        listed = data.get("sources")
        entries = listed if isinstance(listed, list) else []
        for number, entry in enumerate(entries):
            self._take(number, entry, has_slips)
        self._check_rivals()

    def _take(self, number: int, entry: object, has_slips: bool) -> None:
        place = ("sources", number)
        name = entry.get("mapping") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not re.fullmatch(_NAME, name) or name == LAST_TASK:
            return
        if name in self.sync.names:
            remedy = "How far it was read is kept by mapping: give the second one a mapping of its own."
            self._complain((*place, "mapping"), f"{show(name)} is read by another source already.", remedy)
            self.sync.plans.pop(name, None)
            return
        self.sync.names += (name,)
        self._numbers[name] = number
        if name not in self.sync.mappings and name not in self._broken:
            known = sorted(self.sync.mappings)
            hint = did_you_mean(name, known) or list_options("There is", known)
            self._complain((*place, "mapping"), f"there is no mapping {show(name)}.", hint)
        try:
            read = SourceEntry.model_validate(entry)
        except ValidationError:
            return
        before = len(self.document.problems)
        self._check(place, read)
        if has_slips or len(self.document.problems) > before or name not in self.sync.mappings:
            return
        self.sync.plans[name] = SourcePlan(
            mapping=name,
            connection=read.connection,
            query=read.query,
            watermark=read.watermark,
            overlap=read.overlap,
            is_complete=read.complete,
            compare_keys=read.compare_keys,
            most_gone=read.most_gone,
            where=f"{self.document.path}:{self.document.line(place)}",
            folder=self.include / FOLDER,
        )

    def _check(self, place: tuple, entry: SourceEntry) -> None:
        given, mapping = entry.model_fields_set, self.sync.mappings.get(entry.mapping)
        if entry.watermark and entry.complete:
            remedy = "Leave one of them out; with a watermark, compare_keys: true finds what is gone."
            self._complain((*place, "complete"), "only what is new is read: that is not complete.", remedy)
        if entry.compare_keys and not entry.watermark:
            remedy = "Name a watermark, or write complete: true instead."
            self._complain((*place, "compare_keys"), "without a watermark all rows are read anyway.", remedy)
        if "overlap" in given and not entry.watermark:
            self._complain((*place, "overlap"), "without a watermark nothing overlaps.", "Name a watermark.")
        is_whole = entry.complete or entry.compare_keys
        if "most_gone" in given and not is_whole:
            remedy = "It goes with complete: true or compare_keys: true."
            self._complain((*place, "most_gone"), "nothing is found to be gone here.", remedy)
        if mapping and is_whole:
            key = "complete" if entry.complete else "compare_keys"
            self._check_whole((*place, key), mapping, needs_key=entry.compare_keys)

    def _check_whole(self, place: tuple, mapping: Mapping, *, needs_key: bool) -> None:
        swept = list_swept(mapping)
        if not swept:
            remedy = "Leave it out; a column that says so goes into the mapping as gone."
            self._complain(place, f"{mapping.name} brings neither customers nor orders.", remedy)
        for block in swept if needs_key else ():
            key = TARGETS[block.into].key[0]
            cell = block.cells[key]
            if not cell.columns or cell.lookup or LINE in block.needs():
                remedy = "Map the key from columns of the query, or use complete: true without a watermark."
                self._complain(place, f"{key} of {mapping.name} can't be read from its columns alone.", remedy)

    def _check_rivals(self) -> None:
        """Two queries that fill one table from one source: what one lacks may be the other's."""
        plans = self.sync.plans
        for name, number in self._numbers.items():
            plan = plans.get(name)
            if plan is None or not (plan.is_complete or plan.compare_keys):
                continue
            mine = self.sync.mappings[name]
            tables = {block.into for block in list_swept(mine)}
            for other in self.sync.names:
                theirs = self.sync.mappings.get(other)
                if other == name or theirs is None or theirs.source != mine.source or not tables & set(theirs.tables):
                    continue
                key = "complete" if plan.is_complete else "compare_keys"
                what = f"{other} brings rows of the source {show(mine.source)} into the same table: they would be gone."
                remedy = "Give one of the mappings another source, or make one query of the two."
                self._complain(("sources", number, key), what, remedy)
                plans.pop(name, None)

    def _complain(self, place: tuple, what: str, remedy: str) -> None:
        if place not in self.document.faulty:
            self.document.complain(place, f"sources[{place[1]}].{place[2]}: {what}", remedy)


def list_swept(mapping: Mapping) -> list[Block]:
    """The blocks of a mapping whose rows can be found to be gone."""
    return [block for block in mapping.blocks if block.into in COMPLETE_TABLES]
