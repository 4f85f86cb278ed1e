"""Where the parts of a plot lie, as plain numbers for a template to draw as SVG. Knows no colour and no database."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Node = str | None


@dataclass(frozen=True)
class Bar:
    """A part of a stacked column, or the column of a node: where it lies and how many it stands for."""

    key: Node
    x: float
    y: float
    width: float
    height: float
    count: int


@dataclass(frozen=True)
class Column:
    """A stacked column: its parts from the bottom up, its label and whether that is shown."""

    label: str
    parts: list[Bar]
    middle: float
    is_labelled: bool


@dataclass(frozen=True)
class Columns:
    """Stacked columns in a frame; `lines`: (y, value) of the grid."""

    width: float
    height: float
    left: float
    bottom: float
    columns: list[Column]
    lines: list[tuple[float, int]]


@dataclass(frozen=True)
class Band:
    """What flows from a node of the left to one of the right: the outline as an SVG path."""

    source: Node
    target: Node
    count: int
    path: str


@dataclass(frozen=True)
class Flow:
    """Two columns of nodes and the bands between. A label is (key, y, count)."""

    width: float
    height: float
    left: list[Bar]
    right: list[Bar]
    bands: list[Band]
    left_labels: list[tuple[Node, float, int]]
    right_labels: list[tuple[Node, float, int]]


def stack_columns(
    counts: Mapping[str, Sequence[int]], labels: Sequence[str], *, width: float = 760, height: float = 250
) -> Columns:
    """`counts`: what each part adds to each column, the first one on top."""
    left, bottom, top = 66.0, height - 30, 20.0
    totals = [sum(column[place] for column in counts.values()) for place in range(len(labels))]
    step = _round_up(max(totals, default=0) / 4)
    scale = (bottom - top) / (step * 4)
    slot = (width - left - 16) / max(len(labels), 1)
    wide = min(slot * 0.72, 64)
    # Every label where there is room for it, else every other, third, ...; the last one always.
    every = max(1, math.ceil(85 / slot))
    columns = []
    for place, label in enumerate(labels):
        x, y, parts = left + slot * place + (slot - wide) / 2, bottom, []
        for key, column in reversed(counts.items()):
            tall = column[place] * scale
            y -= tall
            if column[place]:
                parts.append(Bar(key, x, y, wide, tall, column[place]))
        is_labelled = (len(labels) - 1 - place) % every == 0
        columns.append(Column(label, parts, x + wide / 2, is_labelled))
    lines = [(bottom - step * n * scale, step * n) for n in range(5)]
    return Columns(width, height, left, bottom, columns, lines)


def _round_up(value: float) -> int:
    """The next number that reads well: a short one times a power of ten."""
    if value <= 1:
        return 1
    power = 10 ** math.floor(math.log10(value))
    return int(
        next(power * n for n in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if power * n >= value and (power * n) % 1 == 0)
    )


def draw_flow(
    moves: Mapping[tuple[Node, Node], int], order: Sequence[Node], *, width: float = 640, height: float = 340
) -> Flow:
    """How `moves` (from, to) -> count run between two columns, nodes in this order."""
    gap, edge, wide = 7.0, 178.0, 9.0
    whole = sum(moves.values())
    sides = []
    for side in (0, 1):
        total = {key: sum(n for pair, n in moves.items() if pair[side] == key) for key in order}
        sides.append({key: n for key, n in total.items() if n})
    room = height - gap * (max(map(len, sides), default=1) - 1) - 4
    scale = room / whole if whole else 0
    bars: list[dict[Node, Bar]] = []
    for side, total in enumerate(sides):
        y, x, placed = 2.0, edge if side == 0 else width - edge - wide, {}
        for key, count in total.items():
            placed[key] = Bar(key, x, y, wide, count * scale, count)
            y += count * scale + gap
        bars.append(placed)
    bands, used = [], [dict.fromkeys(total, 0.0) for total in sides]
    for source in sides[0]:
        for target in sides[1]:
            count = moves.get((source, target), 0)
            if not count:
                continue
            tall = count * scale
            y0, y1 = bars[0][source].y + used[0][source], bars[1][target].y + used[1][target]
            used[0][source] += tall
            used[1][target] += tall
            bands.append(Band(source, target, count, _outline(edge + wide, width - edge - wide, y0, y1, tall)))
    labels = [_spread_labels(list(side.values()), height) for side in bars]
    return Flow(width, height, [*bars[0].values()], [*bars[1].values()], bands, labels[0], labels[1])


def _outline(x0: float, x1: float, y0: float, y1: float, tall: float) -> str:
    half = (x0 + x1) / 2
    return (
        f"M{x0:.1f} {y0:.1f}C{half:.1f} {y0:.1f} {half:.1f} {y1:.1f} {x1:.1f} {y1:.1f}V{y1 + tall:.1f}"
        f"C{half:.1f} {y1 + tall:.1f} {half:.1f} {y0 + tall:.1f} {x0:.1f} {y0 + tall:.1f}Z"
    )


def _spread_labels(bars: Sequence[Bar], height: float, apart: float = 16) -> list[tuple[Node, float, int]]:
    """A label in the middle of each bar, pushed so that none lies on another."""
    places = [bar.y + bar.height / 2 for bar in bars]
    for n in range(1, len(places)):
        places[n] = max(places[n], places[n - 1] + apart)
    end = height - apart / 3
    for n in reversed(range(len(places))):
        places[n] = min(places[n], end)
        end = places[n] - apart
    return [(bar.key, place, bar.count) for bar, place in zip(bars, places, strict=True)]
