"""The JSON schemas of a journey and of the rules of contact, for editors: hover texts, completion, red underlines. Made from
the models.

`python -m retention.journey.schema` writes them to include/; a test holds files and models equal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter

from retention.journey.branches import TemplateCases
from retention.journey.conditions import Bought, Condition, Happened, Worth
from retention.journey.coupon import CouponBranch
from retention.journey.models import Coupon, Entry, Goal, Journey, Send, Step
from retention.journey.policy_file import (
    Caps,
    ChannelCaps,
    ConsentWords,
    ContactCaps,
    Keep,
    PolicyFile,
    ProcessedIn,
    QuietHours,
)

FILE_NAME = "journey.schema.json"
POLICY_FILE_NAME = "policy.schema.json"
_BLOCKS: tuple[type[BaseModel], ...] = (Entry, Goal, Coupon, CouponBranch, TemplateCases, Bought, Happened, Worth, Condition, Send, Step)
_POLICY_BLOCKS = (Caps, ChannelCaps, ConsentWords, ContactCaps, Keep, ProcessedIn, QuietHours)
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema as plain data: JSON Schema 2020-12, values as a marketer writes them."""
    schema = Journey.model_json_schema()
    blocks = schema.pop("$defs")
    for model, block in ((Journey, schema), *((model, blocks[model.__name__]) for model in _BLOCKS)):
        for name, prop in block["properties"].items():
            _tidy(prop)
            _write_default(model, name, prop)
    blocks["Send"]["oneOf"] = [{"required": ["channels"]}, {"required": ["all"]}]
    head = {
        "$schema": _DRAFT,
        "title": "A customer journey",
        "description": "One journey: who enters, what they get and when, and what for.",
    }
    return {**head, **{key: value for key, value in schema.items() if key not in head}, "$defs": blocks}


def policy_schema() -> dict[str, Any]:
    """The schema of include/policy.yaml as plain data."""
    schema = PolicyFile.model_json_schema()
    blocks = schema.pop("$defs")
    for model, block in ((PolicyFile, schema), *((model, blocks[model.__name__]) for model in _POLICY_BLOCKS)):
        block.pop("title", None)
        for name, prop in block["properties"].items():
            _tidy(prop)
            # What is left out has the whole shipped block as its default, which a hover text can't show.
            prop.pop("default", None)
    head = {"$schema": _DRAFT, "title": "The rules of contact", "description": PolicyFile.__doc__}
    return {**head, **{key: value for key, value in schema.items() if key not in head}, "$defs": blocks}


def write_schema() -> str:
    """The text of the schema file of a journey."""
    return json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n"


def write_policy_schema() -> str:
    """The text of the schema file of the rules of contact."""
    return json.dumps(policy_schema(), ensure_ascii=False, indent=2) + "\n"


def _tidy(prop: dict[str, Any]) -> None:
    """Take out what pydantic adds and nobody writes: titles, and null as the way of leaving something out."""
    prop.pop("title", None)
    options = prop.get("anyOf")
    if options and {"type": "null"} in options:
        options.remove({"type": "null"})
        if len(options) == 1:
            prop.update(prop.pop("anyOf")[0])


def _write_default(model: type[BaseModel], name: str, prop: dict[str, Any]) -> None:
    if "default" not in prop:
        return
    field = model.model_fields[name]
    kind = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    written = TypeAdapter(kind).dump_python(field.default, mode="json")
    if written is None:
        del prop["default"]
    else:
        prop["default"] = written


if __name__ == "__main__":
    include = Path(__file__).resolve().parents[3] / "include"
    for place, text in (
        (include / "journeys" / FILE_NAME, write_schema()),
        (include / POLICY_FILE_NAME, write_policy_schema()),
    ):
        place.write_text(text, encoding="utf-8")
        print(place)
