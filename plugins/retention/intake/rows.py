"""Rows become facts: a mapping applied to a chunk. Owns which rows and cells are taken; touches no database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from retention.intake.addresses import derive_countries, derive_zones
from retention.intake.chunks import Chunk, Reject, write_row
from retention.intake.convert import Column, Context, fill, read_column
from retention.intake.mapping import LINE, Block, Mapping
from retention.intake.targets import TARGETS


@dataclass
class Applied:
    """What became of a chunk: staged rows by table (columns of the table, and `row_line`), what was left out, and how many
    rows were read. A row is rejected whole: then none of its blocks is here."""

    frames: list[tuple[str, pl.DataFrame]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    rows: int = 0
    rows_rejected: int = 0


@dataclass
class _Draft:
    """One block of a chunk before it is known which rows are rejected."""

    block: Block
    is_meant: pl.Series
    values: dict[str, pl.Series]


def apply_mapping(mapping: Mapping, chunk: Chunk, context: Context) -> Applied:
    """Read every row of the chunk by the mapping. Never raises for what a cell holds."""
    frame = chunk.frame.with_columns(chunk.lines.cast(pl.String).alias(LINE))
    height = len(frame)
    taken = Applied(rejects=list(chunk.rejects), rows=height + len(chunk.rejects), rows_rejected=len(chunk.rejects))
    is_rejected = pl.repeat(False, height, eager=True)
    drafts: list[_Draft] = []
    cells: list[tuple[pl.Series, str, str, str]] = []
    frame, is_rejected = _refuse_nul(frame, mapping, chunk, is_rejected, taken)
    for block in mapping.blocks:
        is_meant = _find_meant(block, frame)
        draft = _Draft(block, is_meant, {})
        drafts.append(draft)
        target = TARGETS[block.into]
        for name, mask, reason, remedy, rejects in _read_block(block, frame, context, draft):
            hit = mask & is_meant
            if not hit.any():
                continue
            shown = ", ".join(_columns_of(block, name)) or name
            if rejects or (name in target.fields and target.fields[name].is_required):
                fresh = hit & ~is_rejected
                taken.rejects += _list_rejects(chunk, mapping, fresh, shown, f"{name}: {reason}", remedy, "row")
                is_rejected = is_rejected | hit
            else:
                cells.append((hit, shown, f"{name}: {reason}", remedy))
    for hit, shown, reason, remedy in cells:
        taken.rejects += _list_rejects(chunk, mapping, hit & ~is_rejected, shown, reason, remedy, "cell")
    taken.rows_rejected += int(is_rejected.sum())
    for draft in drafts:
        keep = draft.is_meant & ~is_rejected
        staged = pl.DataFrame({**draft.values, "row_line": chunk.lines})
        if not keep.all():
            staged = staged.filter(keep)
        if len(staged):
            taken.frames.append((draft.block.into, staged))
    return taken


def _refuse_nul(frame, mapping, chunk, is_rejected, taken):
    """A NUL can't be stored as text: rows with one in a mapped column are rejected, the rest of them is not looked at."""
    needed = [column for column in mapping.needs() if column in frame.columns]
    for column in needed:
        hit = frame[column].str.contains("\0", literal=True).fill_null(False)
        if hit.any():
            remedy = "Something other than text is in the source: export it anew."
            fresh = hit & ~is_rejected
            taken.rejects += _list_rejects(chunk, mapping, fresh, column, "a NUL character", remedy, "row")
            is_rejected = is_rejected | hit
            frame = frame.with_columns(pl.col(column).str.replace_all("\0", "", literal=True))
    return frame, is_rejected


def _find_meant(block: Block, frame: pl.DataFrame) -> pl.Series:
    mask = pl.repeat(True, len(frame), eager=True)
    if block.unless_empty:
        mask = mask & frame[block.unless_empty].is_not_null()
    for column, words in block.only.items():
        mask = mask & frame[column].is_in(list(words)).fill_null(False)
    return mask


def _columns_of(block: Block, name: str) -> tuple[str, ...]:
    cell = block.cells.get(name) or block.free.get(name)
    return tuple(sorted(cell.needs())) if cell else ()


def _read_block(
    block: Block, frame: pl.DataFrame, context: Context, draft: _Draft
) -> Iterator[tuple[str, pl.Series, str, str, bool]]:
    """Fill the draft's values; for every kind of fault: field, rows, reason, remedy, whether it costs the row."""
    target, height = TARGETS[block.into], len(frame)
    for name, about in target.fields.items():
        if name not in block.cells:
            continue
        column = read_column(name, about.kind, block.cells[name], frame, context, about.choices)
        if name == "address":
            column = _read_gateway_ids(column, draft.values["channel"], block, frame, context)
        draft.values |= column.values
        for mask, reason, remedy in column.faults:
            yield name, mask, reason, remedy, about.rejects
        if about.is_required:
            faulty = _any_of(column, height)
            empty = column.values[name].is_null() & ~faulty
            yield name, empty, "empty", "Fill it at the source, or give the mapping a default.", True
    if "amount" in draft.values and block.into == "orders":
        alone = draft.values["amount"].is_not_null() & draft.values["currency"].is_null()
        yield "currency", alone, "empty beside an amount", "Fill it at the source, or write {value: CNY}.", True
        amount = draft.values["amount"]
        draft.values["currency"] = pl.select(pl.when(amount.is_not_null()).then(draft.values["currency"])).to_series()
    if target.free:
        yield from _read_free(block, frame, context, draft, target.free)
    if block.into == "suppressions":
        is_email, channel = draft.values["address"].str.contains("@", literal=True), draft.values["channel"]
        misfit = ((is_email != (channel == "email")) & (channel != "webhook")).fill_null(False)
        remedy = "E-mail addresses go with email, numbers with sms and whatsapp."
        yield "address", misfit, "not an address of its channel", remedy, True
    if block.gone:
        column = read_column("gone", "boolean", block.gone, frame, context)
        draft.values["is_gone"] = column.values["gone"].fill_null(False)
        for mask, reason, remedy in column.faults:
            yield "gone", mask, reason, remedy, True
    if block.into == "customers":
        _derive(draft, height)


def _read_gateway_ids(
    column: Column, channel: pl.Series, block: Block, frame: pl.DataFrame, context: Context
) -> Column:
    """The addresses again, those of the channel webhook read as what they are: customers' ids."""
    is_id = (channel == "webhook").fill_null(False)
    ids = read_column("address", "id", block.cells["address"], frame, context)
    faults = [(mask & ~is_id, *words) for mask, *words in column.faults]
    faults += [(mask & is_id, *words) for mask, *words in ids.faults]
    return Column({"address": column.values["address"].zip_with(~is_id, ids.values["address"])}, faults)


def _read_free(block: Block, frame: pl.DataFrame, context: Context, draft: _Draft, free: str):
    found = {}
    for name, cell in block.free.items():
        column = read_column(name, cell.kind or "text", cell, frame, context)
        for mask, reason, remedy in column.faults:
            yield name, mask, reason, remedy, False
        values = column.values[name]
        if values.dtype == pl.Datetime:
            values = values.dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
        elif values.dtype.is_decimal():
            values = values.cast(pl.Float64)
        elif values.dtype == pl.Date:
            values = values.dt.strftime("%Y-%m-%d")
        found[name] = values
    if found:
        draft.values[free] = pl.DataFrame(found).select(pl.struct(pl.all()).struct.json_encode()).to_series()


def _any_of(column: Column, height: int) -> pl.Series:
    mask = pl.repeat(False, height, eager=True)
    for found, *_ in column.faults:
        mask = mask | found
    return mask


def _derive(draft: _Draft, height: int) -> None:
    """Country from the phone, time zone from the country or the phone's area, where the source gives none. Which of the
    two were worked out stands in `derived`, as a Postgres array."""
    values = draft.values
    phone = values.get("phone", fill(None, height))
    given = {name: values.get(name, fill(None, height)) for name in ("country", "timezone")}
    country = given["country"].fill_null(derive_countries(phone))
    zone = given["timezone"].fill_null(derive_zones(country, phone))
    values["country"], values["timezone"] = country, zone
    is_new = {"country": given["country"].is_null() & country.is_not_null()}
    is_new["timezone"] = given["timezone"].is_null() & zone.is_not_null()
    both = is_new["country"] & is_new["timezone"]
    values["derived"] = pl.select(
        pl.when(both)
        .then(pl.lit("{country,timezone}"))
        .when(is_new["country"])
        .then(pl.lit("{country}"))
        .when(is_new["timezone"])
        .then(pl.lit("{timezone}"))
        .otherwise(pl.lit("{}"))
    ).to_series()


def _list_rejects(
    chunk: Chunk, mapping: Mapping, mask: pl.Series, column: str, reason: str, remedy: str, level: str
) -> list[Reject]:
    rows = chunk.frame.filter(mask)
    lines = chunk.lines.filter(mask)
    return [
        Reject(line, column, reason, remedy, write_row(row), level)
        for line, row in zip(lines, rows.iter_rows(), strict=True)
    ]
