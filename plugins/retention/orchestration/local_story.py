"""What `make run` tells a newcomer: what was sent, and what comes next. Reads only."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from sqlalchemy import Engine

from retention.journey.firing import last_moment, moments_on
from retention.journey.load import Version
from retention.journey.models import Journey
from retention.orchestration.outlook import look_ahead
from retention.store.queries import run

DEMO_JOURNEY = "birthday_care"
DEMO_RUN = "a-first-look"
_DAYS_BACK = 10
_CHANNELS = {"email": "e-mail", "sms": "SMS", "whatsapp": "WhatsApp"}


def choose_demo_moment(journey: Journey, now: datetime) -> datetime:
    """The cohort that is shown to newcomers: ten days ago, when all its waits are over, also before `starts_on`; of a longer
    journey one that the scheduler does not make up by itself."""
    early = journey.model_copy(update={"starts_on": date.min})
    back = timedelta(days=max(_DAYS_BACK, journey.length.days + 1))
    moments = moments_on(early, journey.cohort_day(now) - back)
    return moments[0] if moments else last_moment(early, now - back) or now


def tell_outcome(engine: Engine, journey: Journey, cohort_at: datetime) -> list[str]:
    """What the demonstration cohort left in the outbox, a line a step and channel."""
    with engine.connect() as conn:
        rows = run(conn, "insight/count_outbox", journey=journey.journey, mode="test", cohort_at=cohort_at).all()
    if not rows:
        return ["nobody was due: nothing was sent"]
    lines = []
    for step, channel in dict.fromkeys((row.step, row.channel) for row in rows):
        mine = [row for row in rows if (row.step, row.channel) == (step, channel)]
        total = sum(row.messages for row in mine)
        split = ", ".join(f"{row.locale} {row.messages}" for row in mine)
        lines.append(f"{step}: {total} by {_CHANNELS.get(channel, channel)} ({split})")
    subjects = dict.fromkeys(row.subject for row in rows if row.subject)
    return lines + [f'  for instance "{subject}"' for subject in list(subjects)[:2]]


def tell_outlook(engine: Engine, version: Version, now: datetime) -> list[str]:
    """What today's cohort of a journey will do and when."""
    return look_ahead(engine, version, now)
