"""What tasks wait for without a worker, other than a moment: the triggerer looks again and again, in their stead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent
from asgiref.sync import sync_to_async
from sqlalchemy.exc import SQLAlchemyError

from retention.errors import StoreError

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 2.0
DATA_LOOK_AGAIN_S = 10.0
"""Data may be held for days, and every journey's tasks wait for them at once: seldom enough for the database."""

BUDGET_LOOK_AGAIN_S = 600.0

FINISHED = ("success", "failed", "upstream_failed", "skipped", "removed")


class StepTurnTrigger(BaseTrigger):
    """Ends `wait` when the steps before this one are through: for a test that pretends to be on time."""

    def __init__(self, cohort_id: int, step: str):
        super().__init__()
        self.cohort_id, self.step = cohort_id, step

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.StepTurnTrigger", {"cohort_id": self.cohort_id, "step": self.step}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        while not await asyncio.to_thread(self._is_turn):
            await asyncio.sleep(LOOK_AGAIN_S)
        yield TaskSuccessEvent()

    def _is_turn(self) -> bool:
        from retention.orchestration import cohort
        from retention.store.database import connect

        return cohort.is_turn(connect(), self.cohort_id, self.step)


class EarlierDaysTrigger(BaseTrigger):
    """Wakes `enroll` when no run of these earlier days is about to enroll any more, or at `until`."""

    def __init__(self, dag_id: str, task_id: str, logical_dates: list[datetime], until: datetime):
        super().__init__()
        self.dag_id, self.task_id, self.logical_dates, self.until = dag_id, task_id, logical_dates, until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        values = {name: getattr(self, name) for name in ("dag_id", "task_id", "logical_dates", "until")}
        return f"{__name__}.EarlierDaysTrigger", values

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        from retention.orchestration import cohort

        fetch = sync_to_async(RuntimeTaskInstance.get_task_states)
        while cohort.read_clock() < self.until:
            states = await fetch(dag_id=self.dag_id, task_ids=[self.task_id], logical_dates=self.logical_dates)
            if not is_anybody_waiting(states):
                break
            await asyncio.sleep(LOOK_AGAIN_S)
        yield TriggerEvent(None)


class FitDataTrigger(BaseTrigger):
    """Wakes a task when no data are held any more: they were corrected, or somebody accepted them."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.FitDataTrigger", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        while await asyncio.to_thread(self._is_held):
            await asyncio.sleep(DATA_LOOK_AGAIN_S)
        yield TriggerEvent(None)

    def _is_held(self) -> bool:
        from retention.orchestration import cohort
        from retention.store.database import connect

        try:
            return cohort.find_data_hold(connect()) is not None
        except (SQLAlchemyError, StoreError) as error:
            # In days of waiting the database may be restarted: no reason to fail a task that only waits.
            log.warning("the database does not answer (%s); looking again", type(error).__name__)
            return True


class FreshScoresTrigger(BaseTrigger):
    """Wakes `enroll` when the scores stand at `due_at` or later, or at `until`."""

    def __init__(self, scores: list[str], cohort_at: datetime, due_at: datetime, until: datetime):
        super().__init__()
        self.scores, self.cohort_at, self.due_at, self.until = scores, cohort_at, due_at, until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        values = {name: getattr(self, name) for name in ("scores", "cohort_at", "due_at", "until")}
        return f"{__name__}.FreshScoresTrigger", values

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from retention.orchestration import cohort

        while cohort.read_clock() < self.until and await asyncio.to_thread(self._is_waiting):
            await asyncio.sleep(DATA_LOOK_AGAIN_S)
        yield TriggerEvent(None)

    def _is_waiting(self) -> bool:
        from retention.orchestration import cohort
        from retention.store.database import connect

        try:
            return not cohort.are_scores_there(connect(), self.scores, self.cohort_at, self.due_at)
        except (SQLAlchemyError, StoreError) as error:
            log.warning("the database does not answer (%s); looking again", type(error).__name__)
            return True


class ProviderTrigger(BaseTrigger):
    """Wakes `deliver` when its provider may be asked again. The moment may move: it looks again and again.

    What no other worker knows of (a budget that is used up) is waited for `wait_s` seconds, ten minutes at most: a person
    may have raised it."""

    def __init__(self, account: str, wait_s: float):
        super().__init__()
        self.account, self.wait_s = account, wait_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.ProviderTrigger", {"account": self.account, "wait_s": self.wait_s}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        if not await asyncio.to_thread(self._find_wait):
            await asyncio.sleep(min(self.wait_s, BUDGET_LOOK_AGAIN_S))
        while (wait_s := await asyncio.to_thread(self._find_wait)) > 0:
            await asyncio.sleep(min(wait_s, DATA_LOOK_AGAIN_S))
        yield TriggerEvent(None)

    def _find_wait(self) -> float:
        from retention.orchestration import cohort
        from retention.store.database import connect

        try:
            return cohort.find_pause(connect(), self.account)
        except (SQLAlchemyError, StoreError) as error:
            log.warning("the database does not answer (%s); looking again", type(error).__name__)
            return DATA_LOOK_AGAIN_S


def is_anybody_waiting(states: dict[str, Any]) -> bool:
    """Whether one of these tasks (run -> task -> state) has yet to come to an end."""
    return any(state not in FINISHED for tasks in states.values() for state in tasks.values())
