"""The editors' schema: equal to the models, valid itself, at one with what ships."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import jsonschema
import pytest

from retention.journey.document import read_document
from retention.journey.schema import FILE_NAME, json_schema, write_schema
from retention.journey.starter import starter

HERE = Path(__file__).parent
JOURNEYS = HERE.parents[1] / "include" / "journeys"


def check(text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(json_schema())
    return [error.message for error in validator.iter_errors(read_document("x.yaml", text).data)]


def test_the_file_is_what_the_models_say() -> None:
    """Write it anew with `python -m retention.journey.schema`."""
    assert (JOURNEYS / FILE_NAME).read_text(encoding="utf-8") == write_schema()


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", sorted(JOURNEYS.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_ships_fits_the_schema(path: Path) -> None:
    assert check(path.read_text(encoding="utf-8")) == []
    assert path.read_text(encoding="utf-8").startswith(f"# yaml-language-server: $schema=./{FILE_NAME}\n")


def test_the_starter_fits_the_schema() -> None:
    files = starter("winback", audience="dormant", starts_on=date(2026, 12, 1))
    assert check(files["journeys/winback.yaml"]) == []


@pytest.mark.parametrize(
    "name",
    ["unknown_key_in_send", "key_missing", "duration_in_words", "percent_without_sign", "step_negative_day",
     "cron_four_fields", "channels_and_all", "max_per_day_zero", "unknown_status", "unknown_goal_event"],
)  # fmt: skip
def test_the_editor_sees_simple_mistakes_too(name: str) -> None:
    assert check((HERE / "bad" / f"{name}.yaml").read_text(encoding="utf-8"))


def every_property(schema: dict) -> Iterator[tuple[str, dict]]:
    for block in (schema, *schema["$defs"].values()):
        yield from block["properties"].items()


def test_every_key_has_a_hover_text_and_values_are_shown_as_written() -> None:
    schema = json_schema()
    for name, prop in every_property(schema):
        target = schema["$defs"][prop["$ref"].rpartition("/")[2]] if "$ref" in prop else prop
        assert len(prop.get("description") or target["description"]) > 15, name
        if "pattern" in prop:
            assert prop.get("examples") or name in ("journey", "id"), name
    assert schema["properties"]["holdout"]["default"] == "10%"
    assert schema["$defs"]["Step"]["properties"]["expires"]["default"] == "1d"
    assert schema["$defs"]["Entry"]["properties"]["max_per_day"]["default"] == "none"
