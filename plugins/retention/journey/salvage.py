"""What is right in a journey that is wrong elsewhere, so that all its mistakes are told at once."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from retention.journey.document import Document
from retention.journey.models import Journey
from retention.journey.rules import NumberedSteps

_STAND_INS: dict[str, Any] = {
    "journey": "x",
    "title": "x",
    "schedule": "0 0 * * *",
    "starts_on": "2026-01-01",
    "audience": "x",
}


def salvage(document: Document, error: ValidationError) -> tuple[Journey | None, NumberedSteps, set[str]]:
    """The journey made of what is right, to find further mistakes in it; and the keys that are not right."""
    places = [tuple(e["loc"]) for e in error.errors(include_url=False, include_input=False)]
    failed = {str(place[0]) for place in places}
    bad_steps = {place[1] for place in places if place[0] == "steps" and len(place) > 1}
    raw_steps = document.data.get("steps")
    raw_steps = raw_steps if isinstance(raw_steps, list) else []
    good = [(index, raw) for index, raw in enumerate(raw_steps) if index not in bad_steps]
    data = {key: value for key, value in document.data.items() if key not in failed and key != "steps"}
    data |= {key: value for key, value in _STAND_INS.items() if key in failed}
    try:
        draft = Journey.model_validate({**data, "steps": [raw for _, raw in good]})
    except ValidationError:
        return None, [], failed
    return draft, [(index, step) for (index, _), step in zip(good, draft.steps, strict=True)], failed
