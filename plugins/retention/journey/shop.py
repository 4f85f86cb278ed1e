"""The shop that speaks in all journeys: include/shop.yaml. Owns its name per language and its addresses."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from retention.journey.document import Document, read_document
from retention.journey.explain import explain_errors
from retention.journey.notation import parse_locale, refuse, show


def choose_locale(wanted: str, available: list[str] | tuple[str, ...], default: str) -> str:
    """The locale to use: exactly the one wanted, else one of the same language, else the default, else the first."""
    language = wanted.split("-")[0]
    same_language = [locale for locale in sorted(available) if locale.split("-")[0] == language]
    for choice in (wanted, *same_language, default):
        if choice in available:
            return choice
    return sorted(available)[0]


def parse_names(value: object) -> dict[str, str]:
    """A line of text in each language."""
    if not isinstance(value, dict) or not value:
        raise refuse(f"{show(value)} is not a name for each language.", "Write {zh-CN: ..., en: ...}.")
    for locale, name in value.items():
        parse_locale(locale)
        if not isinstance(name, str) or not name.strip() or "\n" in name:
            remedy = "Write one line of text; in quotes if it is a number."
            raise refuse(f"the name for {locale} is {show(name)}.", remedy)
    return {locale: name.strip() for locale, name in value.items()}


def _parse_website(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"https://[A-Za-z0-9.\-]+(:[0-9]{1,5})?(/[\w\-./]*)?", value):
        return value.rstrip("/")
    raise refuse(f"{show(value)} is not a web address.", "Write it whole: https://shop.example.com.")


class Shop(BaseModel):
    """Who sends: the name in each language, and the website."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[dict[str, str], PlainValidator(parse_names)] = Field(
        description="What the shop is called, in each language: {zh-CN: ..., en: ...}."
    )
    website: Annotated[str, PlainValidator(_parse_website)] = Field(description="Where customers shop, with https://.")

    postal_address: Annotated[dict[str, str] | None, PlainValidator(parse_names)] = Field(
        default=None,
        description="Where letters reach the shop, in each language. Some laws want it in marketing e-mails.",
    )
    sms_signature: Annotated[dict[str, str] | None, PlainValidator(parse_names)] = Field(
        default=None,
        description="The name in 【】 at the head of an SMS, as the carrier has registered it, in each language.",
    )

    def name_in(self, locale: str, default_locale: str = "zh-CN") -> str:
        """The shop's name in a language, or in the nearest there is."""
        return self.name[choose_locale(locale, list(self.name), default_locale)]

    def postal_address_in(self, locale: str, default_locale: str = "zh-CN") -> str:
        """The postal address in a language, or in the nearest there is; empty if the shop names none."""
        found = self.postal_address
        return found[choose_locale(locale, list(found), default_locale)] if found else ""

    def signature_in(self, locale: str, default_locale: str = "zh-CN") -> str:
        """The signature of an SMS in a language, or in the nearest there is: the name, unless the shop says another."""
        found = self.sms_signature or self.name
        return found[choose_locale(locale, list(found), default_locale)]


def read_shop(path: str, text: str) -> tuple[Shop | None, Document]:
    """The shop, or None and the document's problems."""
    document = read_document(path, text, kind="shop")
    if not document.is_readable:
        return None, document
    try:
        shop = Shop.model_validate(document.data)
    except ValidationError as error:
        explain_errors(document, Shop, error)
        return None, document
    return (None if document.problems else shop), document
