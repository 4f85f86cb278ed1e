"""What differs by a value of the customer: `instead: {by: tier, diamond: ...}`. Whoever has no value there, or another one, gets what
stands beside it: that is the default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from retention.journey.conditions import CHURN_STATES, SHARES, SIX, TIERS
from retention.journey.fields import TemplateName
from retention.journey.notation import did_you_mean, list_options, show
from retention.journey.policy_fields import parse_country

By = Literal["tier", "churn", "stratum", "country", "category", "variant", "audience"]
_STRATA = ("1", "2", "3", "4", "5")
_WORDS = {"tier": ("Tiers", TIERS), "churn": ("States", CHURN_STATES), "stratum": ("Strata", _STRATA)}


class Branch(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", arbitrary_types_allowed=True)

    by: By = Field(
        description="What it differs by, as of the step's moment: tier, churn, stratum (docs/scores.md), country, category (of "
        "what was bought last), variant (the arm), or audience (the one that named them)."
    )

    @property
    def cases(self) -> dict[str, Any]:
        """What is said for each value, in the file's order."""
        return dict(self.model_extra or {})

    @property
    def scheme(self) -> str:
        """Of `by: tier`: which of the two sets of tiers the names are of; the six where it could be either."""
        return "six" if set(self.cases) <= set(SIX) else "shares"

    @property
    def needs_scores(self) -> bool:
        """Whether the value is worked out by the DAG scoring."""
        return self.by in ("tier", "churn", "stratum")


def write_keys(value: object) -> object:
    return {str(key): it for key, it in value.items()} if isinstance(value, dict) else value


class TemplateCases(Branch):
    """Other words for some: a template for each value; the rest get the step's own."""

    __pydantic_extra__: dict[str, TemplateName]


TemplateBranch = Annotated[TemplateCases, BeforeValidator(write_keys)]


def find_branch_mistakes(branch: Branch, path: tuple, **named: tuple[str, ...]) -> Iterator[tuple[tuple, str, str]]:
    """(path, what, remedy) of each value that can't be; `named`: the variants and audiences that there are."""
    if not branch.cases:
        yield (
            path,
            "says nothing for any value.",
            "Add a line for one: diamond: ... . The rest get what stands beside it.",
        )
    for value in branch.cases:
        if branch.by in _WORDS:
            label, options = _WORDS[branch.by]
        elif branch.by in ("variant", "audience"):
            label, options = f"{branch.by.capitalize()}s", named[branch.by]
        elif branch.by == "country":
            try:
                parse_country(value)
            except PydanticCustomError as error:
                yield (*path, value), error.context["what"], error.context["remedy"]
            continue
        else:
            continue
        if not options:
            asked = "Write variants: at the top of the journey" if branch.by == "variant" else "Name several audiences"
            yield (*path, "by"), f"there are no {label.lower()} to differ by.", f"{asked}, or delete instead."
            return
        if value not in options:
            near = did_you_mean(value, options)
            yield (*path, value), f"{show(value)} is not known here.", f"{near} {list_options(label, options)}".strip()
    if branch.by == "tier" and not (set(branch.cases) <= set(SIX) or set(branch.cases) <= set(SHARES)):
        known = set(branch.cases) <= set(TIERS)
        if known:
            yield path, "mixes tiers of two schemes.", f"Keep to {', '.join(SIX)}, or to {', '.join(SHARES)}."


__all__ = ["Branch", "By", "TemplateBranch", "TemplateCases", "find_branch_mistakes", "write_keys"]
