"""Whether a changed journey may replace one that people are still under way in. Compares two versions."""

from __future__ import annotations

from retention.errors import Problem
from retention.journey.document import read_document
from retention.journey.load import PREFIX, Version
from retention.journey.models import Journey, Step


def check_changes(old: Version, new: Version, in_flight: int, *, prefix: str = PREFIX) -> list[Problem]:
    """What of `new` would forget people whose cohorts entered on `old`; `in_flight` of these are unfinished.

    Airflow takes the shape of a run from the file as it is now: a step that vanishes is never run for them. A step
    that was retired in `old` already owes nobody anything and may go.
    """
    if in_flight <= 0:
        return []
    kept = {step.id for step in new.journey.steps}
    owed = [step for step in old.journey.steps if not step.retired and step.id not in kept]
    if not owed:
        return []
    path = f"journeys/{new.journey.journey}.yaml"
    document = read_document(prefix + path, new.content[path])
    waiting = "1 cohort under way still needs" if in_flight == 1 else f"{in_flight} cohorts under way still need"
    problems = []
    for step in owed:
        successor = _find_successor(step, old.journey, new.journey)
        where, how = ("steps",), "is gone"
        if successor:
            where, how = ("steps", new.journey.steps.index(successor)), f'is now called "{successor.id}"'
        remedy = (
            f"Call it {step.id} again; the id is no title, it only has to stay the same."
            if successor
            else "Put it back with the line retired: true, and delete it when they have finished."
        )
        what = f'step "{step.id}" {how}, but {waiting} it.'
        problems.append(Problem(document.path, document.line(where), f"steps: {what}", remedy))
    return sorted(problems)


def _find_successor(gone: Step, old: Journey, new: Journey) -> Step | None:
    """The new step that looks like the vanished one under another name."""
    before = {step.id for step in old.steps}
    return next((step for step in new.steps if step.id not in before and step.at == gone.at), None)
