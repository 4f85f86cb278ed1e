"""What each tier is called, needs and gets: include/segments.yaml. Owns its keys; says nothing of who is in a tier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, PlainValidator, ValidationError

from retention.errors import ConfigError, Problem
from retention.journey.document import Document, read_document
from retention.journey.explain import explain_errors
from retention.journey.files import normalise
from retention.journey.models import Block
from retention.journey.shop import choose_locale, parse_names

FILE = "segments.yaml"

Words = Annotated[dict[str, str], PlainValidator(parse_names)]


class Segment(Block):
    """One tier, in each language."""

    name: Words = Field(description="What the tier is called, in each language: {zh-CN: ..., en: ...}.")
    core_need: Words = Field(description="What its people need most, in each language.")
    care: Words = Field(description="How to care for them, in each language.")

    def say(self, what: str, locale: str) -> str:
        """`name`, `core_need` or `care` in a language, or in the nearest there is."""
        words: Mapping[str, str] = getattr(self, what)
        return words[choose_locale(locale, list(words), "zh-CN")]


class SixSegments(Block):
    """The six tiers."""

    new: Segment = Field(description="First order not long ago.")
    diamond: Segment = Field(description="All four levels high.")
    gold: Segment = Field(description="Buys often and much.")
    silver: Segment = Field(description="Bought lately and is active.")
    churn_warning: Segment = Field(description="Bought well and has gone quiet.")
    potential: Segment = Field(description="Buys now and then, for little.")


class SharesSegments(Block):
    """The four tiers by shares."""

    high: Segment = Field(description="The best tenth.")
    mid: Segment = Field(description="The next three tenths.")
    potential: Segment = Field(description="The next four tenths.")
    at_risk: Segment = Field(description="The last two tenths.")


class Segments(Block):
    """All of include/segments.yaml."""

    six: SixSegments = Field(description="The tiers of the scheme six.")
    shares: SharesSegments = Field(description="The tiers of the scheme shares.")

    def of(self, scheme: str) -> dict[str, Segment]:
        """tier -> its words, the best tier of a scheme first, as they are written down here."""
        group = getattr(self, scheme)
        return {name: getattr(group, name) for name in type(group).model_fields}


def read_segments(path: str, text: str) -> tuple[Segments | None, Document]:
    """The words, or None and the document's problems."""
    document = read_document(path, normalise(text), kind="list of tiers")
    if not document.is_readable:
        return None, document
    try:
        segments = Segments.model_validate(document.data)
    except ValidationError as error:
        explain_errors(document, Segments, error)
        return None, document
    return (None if document.problems else segments), document


def load_segments(include: Path) -> Segments:
    """The words of include/segments.yaml. Raises ConfigError with its problems, or when there is none."""
    path = f"include/{FILE}"
    try:
        text = (include / FILE).read_bytes().decode("utf-8", errors="surrogateescape")
    except OSError as error:
        remedy = "It comes with the code: bring it back."
        raise ConfigError([Problem(path, 1, f"it can't be read ({error.strerror}).", remedy)]) from error
    segments, document = read_segments(path, text)
    if segments is None:
        raise ConfigError(document.problems)
    return segments


def find_problems(include: Path) -> list[Problem]:
    """Everything that is wrong with include/segments.yaml."""
    try:
        load_segments(include)
    except ConfigError as error:
        return error.problems
    return []
