"""Loads for tests: a mapping as text or by name, a file or bytes, and what the load said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention.intake.load import load
from retention.intake.loaded import Loaded, Wishes
from retention.intake.mapping_file import find_mapping, parse_mapping, read_mapping
from retention.intake.sources import open_file
from tests.world import INCLUDE

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def shared(name: str) -> Path:
    """A file of the shared data; skips the test, saying so, where it is missing."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.fixture
def bring(engine, tmp_path) -> Callable[..., Loaded]:
    """bring(file or text, mapping name or YAML, at=..., **wishes) loads it and returns what came of it."""

    def bring_in(
        what: Path | str | bytes, mapping: str, *, at: datetime = NOW, name: str = "file.csv", **wishes
    ) -> Loaded:
        if "\n" in mapping:
            chosen = parse_mapping("m.yaml", mapping, mapping.split("mapping:")[1].split()[0])
        else:
            chosen = read_mapping(find_mapping(mapping, INCLUDE))
        path = what
        if not isinstance(what, Path):
            path = tmp_path / name
            path.write_bytes(what if isinstance(what, bytes) else what.encode())
        source = open_file(path, chosen.format)
        asked = Wishes(actor="test", lookups=path.parent, **wishes)
        return load(engine, chosen, source, asked, clock=lambda: at)

    return bring_in
