"""Commands about the facts: bring them in, look them over, two ids that are one person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retention.cli.shared import AsJson, app, fail, include_folder, name_actor, open_store, read_clock
from retention.console import SHANGHAI, dump, say, table

if TYPE_CHECKING:
    from retention.intake.load import Loaded

SHOWN = 5
"""How many rejected lines are named on the screen; all of them are in the file."""


@app.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(help="CSV, JSON lines, Parquet or XLSX; .gz of the first two.")],
    mapping: Annotated[
        str | None, typer.Option("--map", help="A mapping: its path, or its id in include/mappings.")
    ] = None,
    guess: Annotated[bool, typer.Option("--guess", help="Write a first mapping for this file, to edit.")] = False,
    as_history: Annotated[
        bool, typer.Option("--as-history", help="What happened counts as known since it happened, not since now.")
    ] = False,
    complete: Annotated[
        bool, typer.Option("--complete", help="The file is whole: what its source had and it lacks is gone.")
    ] = False,
    most_gone: Annotated[
        str, typer.Option("--most-gone", help="With --complete: refuse if more than this share would be gone.")
    ] = "5%",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do all of it, show what came of it, keep nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring in facts from files. Safe to repeat: the same file again changes nothing."""
    if guess:
        _write_guess(files, mapping)
        return
    if mapping is None:
        fail("import: --map is missing. Name a mapping, or let `retention import --guess FILE` write a first one.")
    if complete and len(files) > 1:
        fail("import: --complete takes one file: what a single one of several lacks is not gone.")
    from retention.intake.load import Wishes, load
    from retention.intake.mapping_file import find_mapping, read_mapping
    from retention.intake.quality_policy import load_policy
    from retention.intake.sources import open_file
    from retention.journey.notation import parse_percent

    chosen = read_mapping(find_mapping(mapping, include_folder()))
    try:
        share = parse_percent(most_gone)
    except ValueError:
        fail(f'--most-gone: "{most_gone}" is no share. Write 5% or 100%.')
    policy = load_policy(include_folder())
    engine = open_store()
    done = []
    for path in files:
        wishes = Wishes(
            actor=name_actor(),
            is_history=as_history,
            is_complete=complete,
            is_trial=dry_run,
            most_gone=share,
            lookups=path.parent,
            policy=policy,
        )
        source = open_file(path, chosen.format)
        with _progress(path.name, is_quiet=as_json) as on_progress:
            loaded = load(engine, chosen, source, wishes, clock=read_clock, on_progress=on_progress)
        kept_at = None if dry_run else _write_rejects(engine, loaded)
        done.append((loaded, kept_at))
        if not as_json:
            _show(loaded, kept_at, dry_run)
    if as_json:
        dump([_as_dict(loaded, kept_at) for loaded, kept_at in done])
    else:
        _show_holds(engine)


def _as_dict(loaded: Loaded, kept_at: Path | None) -> dict:
    return {
        "import_id": None if loaded.is_trial else loaded.import_id,
        "file": loaded.name,
        "rows_read": loaded.rows_read,
        "rows_taken": loaded.rows_taken,
        "rows_rejected": loaded.rows_rejected,
        "cells_left_out": loaded.cells_left_out,
        **loaded.summary(),
        "checks": [check.as_dict() for check in loaded.checks],
        "rejected": str(kept_at) if kept_at else None,
        "seconds": round(loaded.seconds, 2),
    }


def _write_rejects(engine, loaded: Loaded) -> Path | None:
    from retention.intake.rejects import write_rejects
    from retention.store.database import home

    if not loaded.rows_rejected and not loaded.cells_left_out:
        return None
    return write_rejects(engine, loaded.import_id, home() / "imports")


def _show(loaded: Loaded, kept_at: Path | None, is_trial: bool) -> None:
    how = ", ".join(loaded.notes)
    say(
        f"{loaded.name}{f' ({how})' if how else ''}: {loaded.rows_read:,} rows read, {loaded.rows_taken:,} taken, "
        f"{loaded.rows_rejected:,} rejected, {_count(loaded.cells_left_out, 'cell')} left out  ({loaded.seconds:.1f} s)"
        + ("  -  a dry run, nothing is kept" if is_trial else "")
    )
    columns = ["", "new", "changed", "same", "repeated", "older", "gone"]
    rows = [
        (name, *(f"{getattr(counts, word):,}" if getattr(counts, word) else "" for word in columns[1:]))
        for name, counts in loaded.tables.items()
    ]
    say(table(columns, rows))
    for reason, count in loaded.reasons.most_common():
        say(f"left out {count:>8,}  {reason}")
    for reject in loaded.examples[:SHOWN]:
        where = f"line {reject.line:,}" + (f", column {reject.column}" if reject.column else "")
        say(f"  {loaded.name}:{where}: {reject.reason}. {reject.remedy}")
    if kept_at:
        say(f"All of them, with reason and line: {kept_at}")
    for check in loaded.checks:
        if check.verdict in ("warn", "stop"):
            say(f"{'STOP' if check.verdict == 'stop' else 'warning'}: {check.check}: {check.detail} {check.remedy}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def _show_holds(engine) -> None:
    from retention.intake.quality import find_hold

    with engine.connect() as conn:
        if hold := find_hold(conn):
            say("", hold)


def _write_guess(files: list[Path], mapping: str | None) -> None:
    from retention.intake.guess import guess_mapping

    if len(files) != 1:
        fail("import --guess: name one file.")
    name, text, notes = guess_mapping(files[0], mapping)
    place = Path(mapping) if mapping and mapping.endswith((".yaml", ".yml")) else None
    place = place or include_folder() / "mappings" / f"{name}.yaml"
    if place.exists():
        fail(f"{place}: it is there already. Edit it, or write to another one: --map OTHER.yaml.")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    say(f"wrote {place}")
    say(*notes)
    known_as = name if place.parent == include_folder() / "mappings" else place
    say(f"Read it through, then try it: retention import {files[0]} --map {known_as} --dry-run")


@app.command()
def loads(
    import_id: Annotated[int | None, typer.Argument(help="One load; default: the latest twenty.")] = None,
    as_json: AsJson = False,
) -> None:
    """What came in, when, and what did not; for one load also its rejected rows, as a file."""
    from retention.intake.rejects import fetch_loads, write_rejects
    from retention.store.database import home

    engine = open_store()
    with engine.connect() as conn:
        found = fetch_loads(conn, import_id)
    if import_id is not None and not found:
        fail(f"loads: there is no load {import_id}. `retention loads` lists them.")
    kept_at = None
    if import_id is not None and (found[0]["rows_rejected"] or found[0]["cells_left_out"]):
        kept_at = write_rejects(engine, import_id, home() / "imports")
    if as_json:
        dump(found if import_id is None else {**found[0], "rejected": str(kept_at) if kept_at else None})
        return
    columns = ["load", "at (Asia/Shanghai)", "source", "name", "state", "rows", "rejected", "cells left out", "what"]
    say(table(columns, [(
        load["import_id"], f"{load['started_at'].astimezone(SHANGHAI):%Y-%m-%d %H:%M}", load["source"], load["name"],
        load["state"], f"{load['rows_read']:,}", f"{load['rows_rejected']:,}", f"{load['cells_left_out']:,}",
        load["error"] or _in_words(load["summary"]),
    ) for load in found]))  # fmt: skip
    if import_id is not None:
        for reason, count in found[0]["summary"].get("reasons", {}).items():
            say(f"left out {count:>8,}  {reason}")
    if kept_at:
        say(f"All of them, with reason and line: {kept_at}")


@app.command()
def quality(
    accept: Annotated[
        str | None, typer.Option("--accept", help="The facts are right as they are, and why: what waits goes on.")
    ] = None,
    source: Annotated[str | None, typer.Option("--source", help="Only what this source brought.")] = None,
    as_json: AsJson = False,
) -> None:
    """How good the facts are: what every source's latest load was found to be, and what waits because of it."""
    from retention.intake.quality import fetch_checks, fetch_holds, lift_holds

    engine = open_store()
    lifted = 0
    if accept is not None:
        if not accept.strip():
            fail("quality --accept: say why; it is kept in the audit log.")
        with engine.begin() as conn:
            lifted = lift_holds(conn, reason=accept, actor=name_actor(), now=read_clock(), source=source)
    with engine.connect() as conn:
        checks = [check for check in fetch_checks(conn) if source in (None, check.source)]
        holds = [hold for hold in fetch_holds(conn) if source in (None, hold["source"])]
    if as_json:
        dump({"checks": [check.as_dict() for check in checks], "holds": holds, "lifted": lifted})
        return
    if accept is not None:
        say(
            f"{lifted} {'hold' if lifted == 1 else 'holds'} lifted: what waited goes on."
            if lifted
            else "Nothing was held."
        )
    columns = ["source", "load", "check", "verdict", "limit", "found"]
    say(table(columns, [
        (check.source, check.import_id, check.check, check.verdict, check.limit_text, check.detail) for check in checks
    ]))  # fmt: skip
    if not checks:
        say("Nothing was loaded yet.")
    for check in checks:
        if check.verdict in ("warn", "stop"):
            say(f"{check.check} ({check.source}): {check.remedy}")
    if accept is None:
        _show_holds(engine)


def _in_words(summary: dict) -> str:
    said = []
    for name, counts in summary.get("tables", {}).items():
        words = [f"{count:,} {word}" for word, count in counts.items() if count and word != "repeated"]
        said.append(f"{name}: {', '.join(words) or 'nothing'}")
    return "; ".join(said)


customers = typer.Typer(no_args_is_help=True, help="Two ids that are one person.")
app.add_typer(customers, name="customers")

Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit log.")]


@customers.command()
def merge(
    keep: Annotated[str, typer.Argument(help="The id that stays.")],
    other: Annotated[str, typer.Argument(help="The id that goes on under it.")],
    reason: Reason = "no reason given",
    as_json: AsJson = False,
) -> None:
    """Let everything of OTHER go on under KEEP. The stricter consent wins; `retention customers unmerge` undoes it."""
    from retention.intake.merge import merge_customers

    with open_store().begin() as conn:
        merged = merge_customers(conn, keep, other, reason=reason, actor=name_actor(), now=read_clock())
    if as_json:
        dump(merged.as_dict())
        return
    say(f"{other} goes on under {keep}: " + _moved(merged.rows))
    for channel, purpose in merged.tightened:
        say(f"{channel}, {purpose}: one of the two had withdrawn it, so it is withdrawn.")
    if merged.filled:
        say(f"{keep} lacked and now has: {', '.join(merged.filled)}.")
    for mode, journey in merged.ended:
        say(f"{journey} ({mode}): both were in it; {other} gets nothing more from it.")
    say(f"To undo it: retention customers unmerge {other}")


@customers.command()
def unmerge(
    other: Annotated[str, typer.Argument(help="The id that was merged into another.")],
    reason: Reason = "no reason given",
    as_json: AsJson = False,
) -> None:
    """Undo a merge: give back what it moved."""
    from retention.intake.merge import undo_merge

    with open_store().begin() as conn:
        undone = undo_merge(conn, other, reason=reason, actor=name_actor(), now=read_clock())
    if as_json:
        dump(undone.as_dict())
        return
    say(f"{other} is a customer of its own again: " + _moved(undone.rows))


@customers.command()
def merged(as_json: AsJson = False) -> None:
    """The merges that stand."""
    from retention.intake.merge import fetch_merges

    with open_store().connect() as conn:
        found = fetch_merges(conn)
    if as_json:
        dump([vars(it) for it in found])
        return
    say(table(["kept", "merged into it", "at (Asia/Shanghai)", "by", "why"], [
        (it.kept_id, it.merged_id, f"{it.merged_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}", it.actor, it.reason)
        for it in found
    ]))  # fmt: skip
    if not found:
        say("Nobody is merged.")


def _moved(rows: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in rows.items() if count) or "it had nothing."


class _progress:  # noqa: N801 - used as a `with` block
    """A bar on a terminal, nothing in a pipe."""

    def __init__(self, name: str, *, is_quiet: bool):
        self._name, self._is_quiet = name, is_quiet

    def __enter__(self):
        import sys

        if self._is_quiet or not sys.stderr.isatty():
            return lambda progress: None
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rows]} rows"),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True,
        )  # fmt: skip
        task = self._bar.add_task(self._name, total=None, rows="0")
        self._bar.start()

        def on_progress(progress) -> None:
            is_counted = progress.stage == "reading" and progress.size
            self._bar.update(
                task,
                description=f"{self._name}: {progress.stage}",
                total=progress.size if is_counted else None,
                completed=progress.done if is_counted else 0,
                rows=f"{progress.rows:,}",
            )

        return on_progress

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_bar"):
            self._bar.stop()
