"""Pydantic's errors turned into problems a marketer can act on. Owns wording and places, knows no rule."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from retention.journey.document import Document, Path, write_path
from retention.journey.notation import did_you_mean, list_options, show


def explain_errors(document: Document, model: type[BaseModel], error: ValidationError) -> None:
    """Add a problem to the document for each error of validating its data against `model`."""
    errors = error.errors(include_url=False)
    unknown = {tuple(e["loc"]) for e in errors if e["type"] == "extra_forbidden"}
    for item in errors:
        path = tuple(item["loc"])
        is_unknown = item["type"] == "extra_forbidden"
        if path in document.faulty or (path in document.empty and not is_unknown):
            continue
        if is_unknown and _is_torn_moment(path, errors):
            continue
        if item["type"] == "too_short" and _is_filled(document.data, path):
            continue
        if item["type"] == "missing" and _is_misspelt(path, unknown):
            continue
        at = path[:-1] if item["type"] in ("missing", "extra_forbidden") else path
        what, remedy = _describe(model, item, path)
        document.complain(path, write_path(at, document.data) + what, remedy)
    for path in sorted(document.empty - unknown, key=str):
        remedy = "Write a value, or delete the line."
        document.complain(path, f"{write_path(path, document.data)}nothing is written here.", remedy)


def _is_torn_moment(path: Path, errors: list[Any]) -> bool:
    """`{at: day 0, 10:00}`: the comma made 10:00 a key of its own. What is said about `at` is enough."""
    is_clock = bool(re.fullmatch(r"[0-9]{1,2}:[0-9]{2}", str(path[-1])))
    return is_clock and any(tuple(e["loc"]) == (*path[:-1], "at") for e in errors)


def _is_filled(data: Any, path: Path) -> bool:
    """Whether there is something in the list, if only what is wrong."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return False
    return isinstance(data, list) and bool(data)


def _is_misspelt(missing: Path, unknown: set[Path]) -> bool:
    siblings = [str(path[-1]) for path in unknown if path[:-1] == missing[:-1]]
    return any(did_you_mean(sibling, [str(missing[-1])]) for sibling in siblings)


def _describe(model: type[BaseModel], item: Any, path: Path) -> tuple[str, str]:
    value, kind = item["input"], item["type"]
    context = item.get("ctx") or {}
    if kind == "refused":
        return context["what"], context["remedy"]
    if kind == "extra_forbidden":
        return f"unknown key {show(path[-1])}.", _place_key(model, path)
    if kind == "missing":
        about = _description(model, path)
        return f"the key {show(path[-1])} is missing.", about or "Add it."
    if kind == "literal_error":
        options = [o.strip("'") for o in context["expected"].replace(" or ", ", ").split(", ")]
        near = did_you_mean(value, options)
        return f"{show(value)} is not known here.", f"{near} Write {_join(options)}.".strip()
    if kind in ("bool_type", "bool_parsing"):
        guess = {"true": "true", "false": "false"}.get(str(value).lower())
        return f"{show(value)} is not true or false.", f"Write {guess or 'true or false'}, without quotes."
    if kind in ("tuple_type", "list_type"):
        example = '"- " before each item' if path[-1:] == ("steps",) else "it in brackets: [...]"
        return f"{show(value)} is not a list.", f"Write {example}."
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        keys = _keys_at(model, path)
        return f"{show(value)} is not a group of keys.", list_options("Write keys under it", keys) if keys else ""
    if kind == "too_short":
        return "the list is empty.", "Write at least one item."
    return f"{show(value)} does not fit here.", str(item["msg"]) + "."


def _join(options: list[str]) -> str:
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} or {options[-1]}"


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model of the block at `path`."""
    found: type[BaseModel] | None = model
    is_named = False
    for part in path:
        # What a mapping holds is found by any name, what a list holds by a number.
        if isinstance(part, int) or is_named:
            is_named = False
            continue
        field = found.model_fields.get(part) if found else None
        is_named = field is not None and getattr(field.annotation, "__origin__", None) is dict
        found = _model_in(field.annotation) if field else None
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, getattr(annotation, "__args__", ()))), None)


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    found = _model_at(model, path)
    return list(found.model_fields) if found else []


def _place_key(model: type[BaseModel], path: Path) -> str:
    """For an unknown key: the key that was meant, the block where it belongs, or the keys there are."""
    key, options = str(path[-1]), _keys_at(model, path[:-1])
    near = did_you_mean(key, options)
    if near:
        return near
    for place, field in model.model_fields.items():
        block = _model_in(field.annotation)
        if block is None:
            continue
        if key in block.model_fields:
            return f"It belongs {'in a step' if place == 'steps' else f'under {place}'}."
        for inner, inner_field in block.model_fields.items():
            inner_block = _model_in(inner_field.annotation)
            if inner_block and key in inner_block.model_fields:
                return f"It belongs under {inner}{' of a step' if place == 'steps' else ''}."
    if key in model.model_fields:
        return "It belongs at the top, without indentation."
    return list_options("Keys here", options)


def _description(model: type[BaseModel], path: Path) -> str:
    block = _model_at(model, path[:-1])
    field = block.model_fields.get(str(path[-1])) if block else None
    return f"It says: {field.description}" if field and field.description else ""
