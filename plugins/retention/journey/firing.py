"""When a journey's cohorts enter: its cron line, read in its own time zone. Reads no clock."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from croniter import croniter

from retention.journey.models import Journey


def moments_on(journey: Journey, day: date) -> list[datetime]:
    """The scheduled moments of one local day, in order; empty on a day without any or before `starts_on`."""
    if day < journey.starts_on:
        return []
    midnight = datetime(day.year, day.month, day.day, tzinfo=journey.zone)
    moments, cron = [], croniter(journey.schedule, midnight - timedelta(seconds=1))
    while (moment := cron.get_next(datetime)).date() == day:
        moments.append(moment)
    return moments


def last_moment(journey: Journey, now: datetime) -> datetime | None:
    """The newest scheduled moment that is not after `now`, or None before the first."""
    local = now.astimezone(journey.zone)
    moment = croniter(journey.schedule, local + timedelta(seconds=1)).get_prev(datetime)
    return moment if moment.date() >= journey.starts_on else None


def next_moment(journey: Journey, now: datetime) -> datetime:
    """The first scheduled moment after `now`."""
    first = datetime(journey.starts_on.year, journey.starts_on.month, journey.starts_on.day, tzinfo=journey.zone)
    after = max(now.astimezone(journey.zone), first - timedelta(seconds=1))
    return croniter(journey.schedule, after).get_next(datetime)


def moments_between(journey: Journey, start: datetime, end: datetime) -> list[datetime]:
    """The scheduled moments after `start` and before `end`, in order."""
    found, cron = [], croniter(journey.schedule, start.astimezone(journey.zone))
    while (moment := cron.get_next(datetime)) < end:
        found.append(moment)
    return found
