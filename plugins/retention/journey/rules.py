"""Rules of a journey that need more than one key: order of moments, coupons, templates that fit. Reads no file.

Each rule yields (path of the value, what, remedy). They run on what is valid, even when other keys of the journey are
not: `failed` names those top-level keys, whose values must not be judged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from retention.journey.branches import find_branch_mistakes
from retention.journey.conditions import OF_STEPS, walk
from retention.journey.fields import OWN_DAGS
from retention.journey.models import Journey, Step
from retention.journey.notation import did_you_mean, last_firing, list_options, show, write_duration, write_percent
from retention.journey.templates import TemplateFolder

Finding = tuple[tuple[str | int, ...], str, str]
NumberedSteps = list[tuple[int, Step]]
"""Steps with their place in the file."""

MOST_HOLDOUT = 0.5


def check_journey(journey: Journey, steps: NumberedSteps, failed: Collection[str]) -> Iterator[Finding]:
    """All findings that need the journey alone."""
    if "journey" not in failed and journey.journey in OWN_DAGS:
        what = f"{show(journey.journey)} is the name of a DAG that every installation has."
        yield ("journey",), what, f'Choose another id, such as "{journey.journey}_journey", and name the file after it.'
    yield from _check_ids(steps)
    yield from _check_moments(steps)
    if "schedule" not in failed:
        yield from _check_entry_moment(journey, steps)
    # A step that can't be read may be the one that gives the coupon.
    if "steps" not in failed:
        yield from _check_conditions(steps)
    yield from _check_fallbacks(steps)
    if "default_locale" not in failed:
        yield from _check_gifts(journey, steps)
    if "entry" not in failed:
        yield from _check_entry(journey)
    if "holdout" not in failed and not 0 <= journey.holdout <= MOST_HOLDOUT:
        remedy = f"Write at most {write_percent(MOST_HOLDOUT)}: they all get nothing."
        yield ("holdout",), f"{write_percent(journey.holdout)} is too many.", remedy
    if "goal" not in failed and any(it.what == "goal_met" for it in journey.exit_when) and journey.goal is None:
        yield ("exit_when",), "goal_met never happens: the journey has no goal.", "Add a goal, or delete goal_met."
    if journey.goal and journey.goal.target == 0:
        yield ("goal", "target"), "0% is reached by doing nothing.", "Write the share you hope for, or delete the line."


def _check_ids(steps: NumberedSteps) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, step in steps:
        if step.id in first:
            what = f"the id {show(step.id)} is used by steps[{first[step.id]}] already."
            yield ("steps", index, "id"), what, "Give each step its own id."
        first.setdefault(step.id, index)


def _check_moments(steps: NumberedSteps) -> Iterator[Finding]:
    taken: dict[object, Step] = {}
    for index, step in steps:
        if step.at in taken:
            what = f"{step.at} is the very moment of {show(taken[step.at].id)}."
            yield ("steps", index, "at"), what, "Move one of them; nobody should get two messages at once."
        taken.setdefault(step.at, step)


def _check_entry_moment(journey: Journey, steps: NumberedSteps) -> Iterator[Finding]:
    entered = last_firing(journey.schedule)
    for index, step in steps:
        if step.at.after and step.zone == "customer":
            yield ("steps", index, "zone"), f"{step.at} has no time of day.", "Delete zone, or write day 0, 10:00."
        if not step.at.after and step.at.day == 0 and step.at.time < entered:
            last = f"at {entered:%H:%M} (schedule {show(journey.schedule)})"
            what = f"{step.at} is already over when the cohort enters {last}."
            yield ("steps", index, "at"), what, "Write a later time, or day 1."


def _check_fallbacks(steps: NumberedSteps) -> Iterator[Finding]:
    for index, step in steps:
        if step.send.fallback and step.send.fallback >= step.expires:
            after, late = write_duration(step.send.fallback), write_duration(step.expires)
            what = f"{after} is too late: the step expires after {late}."
            yield ("steps", index, "send", "fallback"), what, "Write less, or a longer expires."


def _check_gifts(journey: Journey, steps: NumberedSteps) -> Iterator[Finding]:
    """A gift has a name in the language of those whose language nobody knows."""
    default = journey.default_locale
    for index, step in steps:
        own = ("steps", index, "coupon")
        cases = step.coupon.instead.cases if step.coupon and step.coupon.instead else {}
        places = {own: step.coupon, **{(*own, "instead", value): coupon for value, coupon in cases.items()}}
        for place, coupon in places.items():
            names = coupon.gift if coupon and coupon.gift else {"": ""}
            if "" not in names and not any(it.split("-")[0] == default.split("-")[0] for it in names):
                what = f"the gift has no name in {default}, the default_locale."
                yield (*place, "gift"), what, f"Write one for each language: {{{default}: ..., {next(iter(names))}: ...}}."


def _coupons_before(steps: NumberedSteps, step: Step) -> list[Step]:
    # Two steps at one moment are a mistake of their own; here the other one counts as earlier.
    return [s for _, s in steps if s.coupon and not s.retired and s is not step and s.at <= step.at]


def _check_conditions(steps: NumberedSteps) -> Iterator[Finding]:
    for index, step in steps:
        yield from _check_outcomes(steps, index, step)
        asked = [place for place, each in walk(step.only_if or (), ("steps", index, "only_if")) if each.coupon]
        if not asked:
            continue
        words = {each.coupon for _, each in walk(step.only_if or (), ("steps", index, "only_if")) if each.coupon}
        before = _coupons_before(steps, step)
        if not before:
            word = "coupon_unused" if "unused" in words else "coupon: used"
            what = f"{word}, but no earlier step gives a coupon."
            place = asked[0] if len(step.only_if or ()) > 1 else ("steps", index, "only_if")
            yield place, what, "Add coupon: to an earlier step, or delete only_if."
            continue
        last = max(before, key=lambda s: s.at.offset + s.coupon_valid)
        if step.at.offset >= last.at.offset + last.coupon_valid and "unused" in words:
            what = f"{step.at} is too late: the coupon of {show(last.id)} has run out by then."
            remedy = f"It is valid for {write_duration(last.coupon_valid)}; send earlier, or make it valid for longer."
            yield ("steps", index, "at"), what, remedy


def _check_outcomes(steps: NumberedSteps, index: int, step: Step) -> Iterator[Finding]:
    """What came of a message can only be asked of a step before."""
    at = {each.id: each.at for _, each in steps}
    for place, each in walk(step.only_if or (), ("steps", index, "only_if")):
        of = getattr(each, each.key) if each.key in OF_STEPS else None
        if of is None:
            continue
        before = [other.id for _, other in steps if other.at < step.at]
        if of not in at:
            near = did_you_mean(of, before)
            yield (
                (*place, each.key),
                f"there is no step {show(of)}.",
                f"{near} {list_options('Earlier steps', before)}".strip(),
            )
        elif of not in before:
            what = f"the step {show(of)} is not before this one."
            yield (*place, each.key), what, list_options("Earlier steps", before)


def _check_entry(journey: Journey) -> Iterator[Finding]:
    entry = journey.entry
    if entry.reenter_after is not None and entry.reenter_after < entry.window:
        after, window = write_duration(entry.reenter_after), write_duration(entry.window)
        what = f"{after} is shorter than the window ({window}): the same person could enter twice for one occasion."
        yield ("entry", "reenter_after"), what, f"Write at least {window}."
    for name, key in [*((name, "rest_after") for name in entry.rest_after), *((it, "not_while_in") for it in entry.not_while_in)]:
        if name == journey.journey:
            what = f"{show(name)} is this journey."
            yield ("entry", key), what, "How long people stay out of it after entering is said by reenter_after."
    if entry.rank_by and entry.max_per_day is None:
        what = "there is nothing to rank: everybody may enter."
        yield ("entry", "rank_by"), what, "Add max_per_day, for example max_per_day: 500, or delete the line."
    if entry.backlog == "ramp" and entry.max_per_day is None:
        what = "ramp without a limit would pour out the whole past at once."
        yield ("entry", "backlog"), what, "Add max_per_day, for example max_per_day: 500."


def check_templates(
    journey: Journey, steps: NumberedSteps, templates: Mapping[str, TemplateFolder], has_locale: bool
) -> Iterator[Finding]:
    """Whether the templates have what the steps need of them; coupon variables are in `find_coupon_mistakes`."""
    for index, step, name in [(index, step, name) for index, step in steps for name in step.send.templates]:
        folder = templates.get(name)
        if folder is None:
            continue
        for channel in step.send.order:
            locales = folder.locales.get(channel, set())
            # Asked for in the default locale only: any other language falls back to it.
            if has_locale and journey.default_locale not in locales:
                wants = ["html", "txt"] if channel == "email" else ["txt"]
                names = " and ".join(f"{channel}.{journey.default_locale}.{ending}" for ending in wants)
                what = f"{show(name)} has no {channel} in the default locale {journey.default_locale}."
                remedy = f"Write {names} in include/templates/{name}, or take {channel} out."
                yield ("steps", index, "send"), what, remedy


def check_branches(
    journey: Journey, steps: NumberedSteps, templates: Mapping[str, TemplateFolder]
) -> Iterator[Finding]:
    """Whether what differs by a value differs by one that there is."""
    # By a single audience, all would get the same.
    named = {"variant": tuple(journey.variants or ()), "audience": journey.audience if len(journey.audience) > 1 else ()}
    for index, step in steps:
        if step.send.instead:
            path = ("steps", index, "send", "instead")
            yield from find_branch_mistakes(step.send.instead, path, **named)
            known = {name: templates[name].template for name in step.send.templates if name in templates}
            purposes = {name: it.purpose for name, it in known.items() if it}
            for value, name in step.send.instead.cases.items():
                if purposes.get(name, purposes.get(step.send.template)) != purposes.get(step.send.template):
                    what = f"{show(name)} is {purposes[name]}, {show(step.send.template)} is {purposes[step.send.template]}."
                    yield (*path, value), what, "All words of a step have one purpose: it decides who may get them."
        if step.coupon and step.coupon.instead:
            path = ("steps", index, "coupon", "instead")
            yield from find_branch_mistakes(step.coupon.instead, path, **named)
            for value, coupon in step.coupon.instead.cases.items():
                if coupon.instead:
                    yield (*path, value, "instead"), "a coupon inside a coupon.", "Write all values side by side."


def find_coupon_mistakes(
    steps: NumberedSteps, templates: Mapping[str, TemplateFolder]
) -> Iterator[tuple[str, int, str, str]]:
    """(path, line, what, remedy) of the first use of a coupon that nobody was given, or that is over by then, for each step that has
    one."""
    for step, name in [(step, name) for _, step in steps for name in step.send.templates]:
        folder = templates.get(name)
        if folder is None or step.coupon:
            continue
        uses = sorted(use[1:] for use in folder.coupon_uses if use[0] in step.send.order)
        if not uses:
            continue
        path, line, name = uses[0]
        more = f" (and in {len(uses) - 1} more places)" if len(uses) > 1 else ""
        before = _coupons_before(steps, step)
        if not before:
            what = f"{show(name)}{more} has no value: neither step {show(step.id)} nor an earlier one gives a coupon."
            yield path, line, what, f"Add coupon: to the step {show(step.id)}, or take the variable out."
            continue
        ends, giver = max((each.at.offset + each.coupon_valid, each.id) for each in before)
        is_told = any(each.coupon == "unused" for _, each in walk(step.only_if or (), ()))  # by _check_conditions
        if step.at.offset >= ends and not is_told and not step.retired:
            what = f"{show(name)}{more} has no value: the coupon of {show(giver)} has run out when {show(step.id)} is due ({step.at})."
            yield path, line, what, "Make it valid for longer, send earlier, or take the variable out."
