"""From files to journeys: the one loader. Turns every mistake of all files into problems and never raises for one.

A journey that is right becomes a Version: all it needs, pinned by a hash over just the files it uses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from pydantic import ValidationError

from retention.errors import ConfigError, Problem
from retention.journey.document import Document, find_stray_bytes, read_document, write_path
from retention.journey.explain import explain_errors
from retention.journey.fields import Known
from retention.journey.files import Files
from retention.journey.law_check import Case, check_law
from retention.journey.models import Journey
from retention.journey.notation import did_you_mean, list_options, show
from retention.journey.policy import Examined, examine_rules
from retention.journey.rules import NumberedSteps, check_branches, check_journey, check_templates, find_coupon_mistakes
from retention.journey.salvage import salvage
from retention.journey.shop import Shop, read_shop
from retention.journey.templates import Template, TemplateFolder, read_templates

PREFIX = "include/"
SHOP = "shop.yaml"


@dataclass(frozen=True)
class Version:
    """A journey with everything it needs. `templates` and the SQL of `audiences` by name; `content` (path -> text) is what it was read from.

    The hash changes exactly when one of these files does: not with other journeys, the order of files or line ends.
    """

    journey: Journey
    templates: Mapping[str, Template]
    audiences: Mapping[str, str]
    shop: Shop
    content: Mapping[str, str]
    content_hash: str


@dataclass
class Workspace:
    """What load() found: good `versions` by journey id, all `problems` sorted, and those of each broken journey. `notes`:
    what will be a problem as soon as a journey says live: true."""

    versions: dict[str, Version] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    broken: dict[str, list[Problem]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Surroundings:
    """What journeys refer to."""

    files: Files
    prefix: str
    templates: dict[str, TemplateFolder]
    audiences: dict[str, str]
    bad_audiences: dict[str, Problem]
    shop: Shop | None
    shop_problems: list[Problem]
    rules: Examined | None
    """The rules of contact and the law; None for a stored version, which was held against them when it was new."""

    @property
    def known(self) -> Known:
        return Known(templates=[name for name in self.templates if name], audiences=list(self.audiences), journeys=self._list_journeys())

    def _list_journeys(self) -> list[str] | None:
        if self.rules is None:
            return None
        paths = [path.removeprefix("journeys/") for path in self.files.under("journeys")]
        return [path.removesuffix(".yaml") for path in paths if path.endswith(".yaml") and "/" not in path]


def load(files: Files, *, prefix: str = PREFIX) -> Workspace:
    """Read all journeys. Never raises for bad content; `prefix` stands before paths in problems.

    A journey is broken by its own mistakes and by those of the templates, the audience and the shop it uses; with live: true
    also by what is wrong with the rules of contact, and by what the law asks for and it does not keep.
    """
    return _load(files, prefix, examine_rules(files, prefix=prefix))


def _load(files: Files, prefix: str, rules: Examined | None) -> Workspace:
    around = _read_surroundings(files, prefix, rules)
    workspace = Workspace()
    problems = set(around.shop_problems) | set(around.bad_audiences.values()) | set(rules.problems if rules else ())
    for folder in around.templates.values():
        problems.update(folder.problems)
    for path, reason in files.unreadable.items():
        problems.add(Problem(prefix + path, 1, f"the file can't be opened ({reason}).", "Correct its permissions."))
    for path in files.under("journeys"):
        name = path.removeprefix("journeys/")
        if "/" in name or not name.endswith(".yaml"):
            remedy = "Journeys lie in include/journeys itself and end in .yaml."
            problems.add(Problem(prefix + path, 1, f"{show(name)} is not read as a journey.", remedy))
            continue
        journey_id = name.removesuffix(".yaml")
        version, mistakes = _read_journey(path, journey_id, around)
        unlawful = _hold_against_the_law(version, path, around) if version else []
        # A stopped journey sends nothing, and its stop has to be heard.
        if unlawful and version.journey.live and version.journey.status != "stopped":
            version, mistakes = None, unlawful
        else:
            workspace.notes += unlawful
        problems.update(mistakes)
        if version:
            workspace.versions[journey_id] = version
        else:
            workspace.broken[journey_id] = sorted(set(mistakes))
    workspace.problems = sorted(problems)
    workspace.notes = sorted(set(workspace.notes) - problems)
    return workspace


def load_version(content: Mapping[str, str]) -> Version:
    """The version stored as `content`; one that was read before is not read again. Raises ConfigError if it is not one whole
    journey."""
    return _load_version(tuple(content.items()))


@lru_cache(maxsize=32)
def _load_version(content: tuple[tuple[str, str], ...]) -> Version:
    workspace = _load(Files(dict(content)), PREFIX, None)
    if len(workspace.versions) == 1 and not workspace.problems:
        return next(iter(workspace.versions.values()))
    missing = Problem("stored version", 1, "it does not hold exactly one journey.", "Load the journey's files anew.")
    raise ConfigError(workspace.problems or [missing])


def hash_content(content: Mapping[str, str]) -> str:
    """Sha256 in hex over paths and texts, whatever their order."""
    canonical = json.dumps(dict(content), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _read_surroundings(files: Files, prefix: str, rules: Examined | None) -> _Surroundings:
    shop, shop_problems = None, []
    if SHOP in files:
        shop, document = read_shop(prefix + SHOP, files[SHOP])
        shop_problems = document.problems
    else:
        remedy = "Write it with two keys: name (in each language) and website."
        shop_problems = [Problem(prefix + SHOP, 1, "the file is missing.", remedy)]
    audiences = {}
    bad_audiences = {}
    for path in files.under("sql/audiences"):
        name = path.removeprefix("sql/audiences/").removesuffix(".sql")
        audiences[name] = files[path]
        stray = find_stray_bytes(prefix + path, files[path])
        if stray is None and not files[path].strip():
            stray = Problem(prefix + path, 1, "the file is empty.", "Write a select of customer_id, occurrence.")
        if stray:
            bad_audiences[name] = stray
    templates = read_templates(files, prefix)
    return _Surroundings(files, prefix, templates, audiences, bad_audiences, shop, shop_problems, rules)


def _read_journey(path: str, journey_id: str, around: _Surroundings) -> tuple[Version | None, list[Problem]]:
    document = read_document(around.prefix + path, around.files[path])
    if not document.is_readable:
        return None, document.problems + around.shop_problems
    journey = None
    try:
        journey = Journey.model_validate(document.data, context={"known": around.known})
    except ValidationError as error:
        explain_errors(document, Journey, error)
        draft, steps, failed = salvage(document, error)
    else:
        draft, steps, failed = journey, list(enumerate(journey.steps)), set()
        _check_id(document, journey, journey_id, around)
        _check_topic(document, journey, around)
    if draft:
        _check_rules(document, draft, steps, failed, around)
    problems = document.problems + _problems_of_parts(document, around)
    if journey is None or problems or around.shop is None:
        return None, problems
    return _make_version(journey, path, around), []


def _check_id(document: Document, journey: Journey, journey_id: str, around: _Surroundings) -> None:
    if journey.journey == journey_id:
        return
    theirs = f"journeys/{journey.journey}.yaml"
    remedy = f"Write journey: {journey_id}, or rename the file to {journey.journey}.yaml."
    what = f"the id {show(journey.journey)} is not the file's name."
    if theirs in around.files:
        what = f"the id {show(journey.journey)} belongs to {around.prefix}{theirs} already."
        remedy = f"Write journey: {journey_id}."
    document.complain(("journey",), f"journey: {what}", remedy)


def _check_topic(document: Document, journey: Journey, around: _Surroundings) -> None:
    policy = around.rules.policy if around.rules else None
    if policy and journey.topic and journey.topic not in policy.topics:
        near = did_you_mean(journey.topic, policy.topics) or "Topics stand in include/policy.yaml."
        remedy = f"{near} {list_options('Topics', policy.topics)}"
        document.complain(("topic",), f"topic: unknown topic {show(journey.topic)}.", remedy)


def _hold_against_the_law(version: Version, path: str, around: _Surroundings) -> list[Problem]:
    """What the law asks for and the journey does not keep; what is wrong with the rules, if they can't be read."""
    if around.rules is None:
        return []
    if around.rules.policy is None:
        return around.rules.problems
    case = Case(
        journey=version.journey,
        document=read_document(around.prefix + path, around.files[path]),
        templates=around.templates,
        files=around.files,
        shop=version.shop,
        policy=around.rules.policy,
        policy_document=around.rules.document,
        prefix=around.prefix,
    )
    return check_law(case)


def _check_rules(
    document: Document, draft: Journey, steps: NumberedSteps, failed: set[str], around: _Surroundings
) -> None:
    findings = [
        *check_journey(draft, steps, failed),
        *check_templates(draft, steps, around.templates, has_locale="default_locale" not in failed),
        *check_branches(draft, steps, around.templates),
    ]
    for place, what, remedy in findings:
        document.complain(place, write_path(place, document.data) + what, remedy)
    coupon_mistakes = () if "steps" in failed else find_coupon_mistakes(steps, around.templates)
    for path, line, what, remedy in coupon_mistakes:
        document.problems.append(Problem(path, line, what, remedy))


def _problems_of_parts(document: Document, around: _Surroundings) -> list[Problem]:
    """The problems of the templates, the audience and the shop that this journey names."""
    problems = list(around.shop_problems)
    audience = document.data.get("audience")
    for name in audience if isinstance(audience, list) else [audience]:
        if isinstance(name, str) and name in around.bad_audiences:
            problems.append(around.bad_audiences[name])
    steps = document.data.get("steps")
    for step in steps if isinstance(steps, list) else []:
        send = step.get("send") if isinstance(step, dict) else None
        if not isinstance(send, dict):
            continue
        others = send.get("instead")
        names = [send.get("template"), *(others.values() if isinstance(others, dict) else ())]
        for name in dict.fromkeys(it for it in names if isinstance(it, str) and it in around.templates):
            problems.extend(around.templates[name].problems)
    return problems


def _make_version(journey: Journey, path: str, around: _Surroundings) -> Version:
    names = sorted({name for step in journey.steps for name in step.send.templates})
    paths = {path, SHOP, *(f"sql/audiences/{name}.sql" for name in journey.audience)}
    for step in journey.steps:
        for folder in (around.templates[name] for name in step.send.templates):
            paths.update(folder.paths[""])
            for channel in step.send.order:
                paths.update(folder.paths[channel])
    content = {name: around.files[name] for name in sorted(paths)}
    templates = {name: around.templates[name].template for name in names}
    return Version(
        journey=journey,
        templates=templates,
        audiences={name: around.audiences[name] for name in journey.audience},
        shop=around.shop,
        content=content,
        content_hash=hash_content(content),
    )
