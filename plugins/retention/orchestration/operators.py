"""The tasks of a journey's DAG. Each calls one function of `cohort` with ids; no customer data goes through XCom."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator

from retention.errors import BooksOpen, ConfigError, DataHeld, Problem, ProviderPaused, TooEarly
from retention.journey.firing import moments_between
from retention.journey.notation import did_you_mean, list_options
from retention.orchestration.links import NumbersLink
from retention.orchestration.past_days import is_past_run, read_mode
from retention.orchestration.triggers import (
    EarlierDaysTrigger,
    FitDataTrigger,
    FreshScoresTrigger,
    ProviderTrigger,
    StepTurnTrigger,
    is_anybody_waiting,
)

log = logging.getLogger(__name__)

LONGEST_TURN = timedelta(minutes=30)
"""How long a day waits for earlier days to enroll, in case one of them hangs."""


def refuse_unknown_conf(context: Any) -> None:
    """Raises ConfigError for a key of the run's conf that nothing reads: whoever wrote it believes that it counts."""
    known = list(context["dag"].params)
    for key in context["dag_run"].conf or {}:
        if key not in known:
            remedy = did_you_mean(key, known) or list_options("Keys", known)
            raise ConfigError([Problem(f"conf {key}", 0, "this key is not known.", remedy)])


class FactsOperator(BaseOperator):
    """A task that decides or sends by the facts. While they are held, or a provider is not to be asked, it waits without
    a worker, and then does its work."""

    def execute(self, context: Any, event: Any = None) -> Any:
        try:
            return self.work(context)
        except DataHeld as held:
            log.warning("%s", held)
            self.defer(trigger=FitDataTrigger(), method_name="execute")
        except TooEarly as early:
            log.info("%s", early)
            self.defer(trigger=DateTimeTrigger(moment=early.at), method_name="execute")
        except ProviderPaused as paused:
            log.warning("%s. This task waits without a worker.", paused)
            self.defer(trigger=ProviderTrigger(paused.account, paused.wait_s), method_name="execute")

    def work(self, context: Any) -> Any:
        """The task itself, safe to begin anew."""
        raise NotImplementedError


class EnrollOperator(FactsOperator):
    """Takes in the run's cohort; XCom: the counts, with `cohort_id` for the other tasks."""

    operator_extra_links = (NumbersLink(),)

    def __init__(self, *, journey: str, include: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.journey, self.include = journey, include

    def work(self, context: Any) -> dict:
        from retention.journey.scores import load_scores
        from retention.orchestration import cohort
        from retention.orchestration.bundles import keeps_runs_on_their_commit
        from retention.orchestration.desk import pick_version
        from retention.store.database import connect

        refuse_unknown_conf(context)
        engine, params, include = connect(), context["params"], Path(self.include)
        version = pick_version(include, self.journey, engine, may_drop_steps=keeps_runs_on_their_commit(include))
        if held := cohort.find_data_hold(engine):
            raise DataHeld(held)  # said before anybody waits for a turn
        moment, scoring = find_moment(params, context["dag_run"], version.journey.zone), load_scores(include).scoring
        run_type = context["dag_run"].run_type
        mode = read_mode(params, run_type)
        lifted_at, wait = cohort.find_last_data_lift(engine), timedelta(0)
        scores = cohort.find_freshness(engine, version, moment, scoring)
        if scores is not None:
            wait = scoring.wait
            if not params.get("on_time"):
                self._wait_for_scores(context, scores, moment, _begin(context, lifted_at) + wait)
        if not params.get("cohort_at"):
            # Earlier days may wait for scores as long as this one.
            self._take_turns(context, version.journey, _begin(context, lifted_at) + wait + LONGEST_TURN)
        entered = cohort.enroll(
            engine,
            version,
            moment,
            scoring=scoring,
            mode=mode,
            is_past=is_past_run(version.journey, run_type, moment, cohort.read_clock()),
            is_on_time=bool(params.get("on_time")),
            is_size_approved=bool(params.get("approve_size")),
            actor=f"Airflow run {context['dag_run'].run_id}",
            run_id=context["dag_run"].run_id,
            on_progress=log.info,
        )
        log.info("%s", entered)
        return entered.as_dict()

    def _wait_for_scores(self, context: Any, scores: Any, cohort_at: datetime, until: datetime) -> None:
        """Scores of the cohort's own day, while they can still come; then `cohort.enroll` judges what there is."""
        from retention.orchestration import cohort

        if scores.is_fresh or not scores.may_come or cohort.read_clock() >= until:
            return
        log.warning(
            "%s. This cohort waits for them without a worker, until %s at the latest.", scores, until.isoformat()
        )
        trigger = FreshScoresTrigger(list(scores.scores), cohort_at, scores.due_at, until)
        self.defer(trigger=trigger, method_name="execute")

    def _take_turns(self, context: Any, journey: Any, until: datetime) -> None:
        """Let earlier days go first: of somebody whom two windows cover, the earlier cohort is the right one.

        After an outage several days are made up at once. Only runs that are about to enroll are waited for: one that
        failed, or is held, holds up nobody.
        """
        from retention.orchestration import cohort

        moment = context["dag_run"].logical_date
        if moment is None:
            return
        earlier = moments_between(journey, moment - journey.entry.window, moment)
        if not earlier or cohort.read_clock() >= until:
            return
        states = context["ti"].get_task_states(dag_id=self.dag_id, task_ids=[self.task_id], logical_dates=earlier)
        if is_anybody_waiting(states):
            log.info("an earlier day's cohort enters first")
            self.defer(trigger=EarlierDaysTrigger(self.dag_id, self.task_id, earlier, until), method_name="execute")


def _begin(context: Any, lifted_at: datetime | None) -> datetime:
    """From when a run waits. Days that waited for data all wake at once: their time begins then."""
    started = context["dag_run"].start_date
    return max(started, lifted_at or started)


class WaitOperator(BaseOperator):
    """Waits, without a worker, for the step's due moment, or for `after_s` seconds later; a cohort that pretends to be on
    time only for its earlier steps."""

    def __init__(self, *, step: str, after_s: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.step, self.after_s = step, after_s

    def execute(self, context: Any, event: Any = None) -> None:
        from retention.orchestration import cohort
        from retention.store.database import connect

        engine, cohort_id = connect(), pull_cohort(context)
        due_at = cohort.due_at(engine, cohort_id, self.step)
        if due_at is not None and self.after_s:
            due_at += timedelta(seconds=self.after_s)
        if due_at is not None and due_at > cohort.read_clock():
            log.info("waiting for %s", due_at.isoformat())
            self.defer(trigger=DateTimeTrigger(moment=due_at, end_from_trigger=True), method_name="execute")
        if due_at is None and not cohort.is_turn(engine, cohort_id, self.step):
            log.info("the steps before this one come first")
            self.defer(trigger=StepTurnTrigger(cohort_id, self.step), method_name="execute")


class PlanOperator(FactsOperator):
    """Decides the step for everybody, or anew for those whose message bounced; XCom: the shards to deliver."""

    operator_extra_links = (NumbersLink(),)

    def __init__(self, *, step: str, include: str, is_fallback: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.step, self.include, self.is_fallback = step, include, is_fallback

    def work(self, context: Any) -> list[dict]:
        from retention.orchestration import cohort
        from retention.orchestration.desk import is_stopped_by_file
        from retention.store.database import connect

        is_stopped = is_stopped_by_file(Path(self.include), self.dag_id)
        planned = cohort.plan(
            connect(), pull_cohort(context), self.step,
            is_fallback=self.is_fallback, policy=cohort.read_rules(Path(self.include)), is_stopped=is_stopped,
            on_progress=log.warning,
        )  # fmt: skip
        for it in planned.decided:
            log.info("%s/%s: %s %s %d", it.step, it.channel, it.decision, it.reason or "", it.count)
        return planned.shards


class DeliverOperator(FactsOperator):
    """Hands over one shard of the step's batches on one channel."""

    def __init__(self, *, step: str, channel: str, include: str, shard: dict, **kwargs: Any):
        super().__init__(**kwargs)
        self.step, self.channel, self.include, self.shard = step, channel, include, shard

    def work(self, context: Any) -> None:
        from retention.orchestration import cohort
        from retention.orchestration.connections import find_account
        from retention.orchestration.desk import is_stopped_by_file
        from retention.store.database import connect

        context["shard_name"] = f"{self.shard['shard'] + 1} of {self.shard['of']}"
        is_stopped = is_stopped_by_file(Path(self.include), self.dag_id)
        handled = cohort.deliver(
            connect(), pull_cohort(context), self.step, self.channel,
            **self.shard, policy=cohort.read_rules(Path(self.include)), is_stopped=is_stopped,
            find_account=find_account, on_progress=log.info,
        )  # fmt: skip
        for it in handled:
            log.info("%s/%s: %s %s %d", it.step, it.channel, it.outcome, it.reason or "", it.count)


class SettleOperator(BaseOperator):
    """Closes the cohort's books, or fails and says what is missing: the run is only as green as its books.

    Where only answers are missing that were lost a moment ago, it waits until their provider can be asked."""

    operator_extra_links = (NumbersLink(),)

    def execute(self, context: Any, event: Any = None) -> None:
        from retention.orchestration import cohort
        from retention.orchestration.connections import find_account
        from retention.store.database import connect

        cohort_id = pull_cohort(context)
        try:
            cohort.settle(connect(), cohort_id, find_account=find_account, on_progress=log.info)
        except BooksOpen as books:
            if not books.again_at:
                raise
            log.warning("%s", books)
            log.warning("nobody has to do anything yet: their provider is asked at %s", books.again_at.isoformat())
            self.defer(trigger=DateTimeTrigger(moment=books.again_at), method_name="execute")
        log.info("cohort %d: everybody has a decision, every message an answer; the books are closed", cohort_id)


def pull_cohort(context: Any) -> int:
    """The id of this run's cohort. Raises BooksOpen when `enroll` has not finished."""
    entered = context["ti"].xcom_pull(task_ids="enroll")
    if not entered:
        raise BooksOpen("enroll has not finished: see its log, mend what it says, then clear `enroll`.")
    return entered["cohort_id"]


def find_moment(params: Any, dag_run: Any, zone: ZoneInfo) -> datetime:
    """The cohort's moment: the param `cohort_at` (in the journey's zone if it names none), else the run's own.

    Raises ConfigError for what is no moment.
    """
    given = params.get("cohort_at")
    if not given:
        return dag_run.logical_date or dag_run.run_after
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        problem = Problem("param cohort_at", 1, f'"{given}" is no moment.', "Write it like 2026-12-01T06:00.")
        raise ConfigError([problem]) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
