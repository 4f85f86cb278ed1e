"""The DAG rerun_step: a step once more for some people of past cohorts. Started by hand, from a form; shows the numbers first."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.branch import BranchMixIn
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, BaseOperator, ExceptionRetryPolicy, Param, RetryAction, RetryRule, TaskGroup, TriggerRule

from retention.delivery.channels import BATCH_SIZES
from retention.errors import AccountRefused, ConfigError, RetentionError, RetryLater, TooEarly
from retention.journey.files import read_files
from retention.journey.load import Version, load
from retention.orchestration.dagplan import pool_of
from retention.orchestration.links import NumbersLink
from retention.orchestration.operators import FactsOperator, refuse_unknown_conf
from retention.orchestration.rerun_words import LEAST_REASON, WHO, Repeated, Wish, list_twice, parse_days, sum_up, write_numbers

log = logging.getLogger(__name__)

DAG_ID = "rerun_step"

MOST_TASKS = 100
"""Shards are dealt into so many tasks a channel at most."""

WORDS = """\
A step once more, for some of the people of past cohorts. **Trigger** it and fill in the form; `Dry run` is on to begin with: the run
then only counts, and nothing is sent. Look at its page **Numbers**, then trigger it again with `Dry run` off.

Where anybody would get a second message, the run waits for an approval (*Required Actions*). Whatever forbids a message
forbids it here, too: consent, caps, quiet hours, exits, the step's `expires`, a stop. A coupon is never dealt twice. Who, why and how
many stand in the audit log. Clearing this run's tasks is safe: it decides once.

`retention rerun` does the same at the command line. docs/operations.md
"""

_RETRIES = ExceptionRetryPolicy(
    rules=[
        RetryRule([ConfigError, AccountRefused], RetryAction.FAIL, reason="a person has to act"),
        RetryRule(RetryLater, RetryAction.RETRY, timedelta(minutes=1), reason="the provider was busy"),
        RetryRule(RetentionError, RetryAction.FAIL, reason="a person has to act"),
    ]
)


def build_dag(include: Path) -> DAG | None:
    """The DAG. Never raises: an error here would be an import error of its file."""
    try:
        return _build(include)
    except Exception:
        log.exception("no DAG could be built to re-run a step")
        return None


def _make_params(versions: dict[str, Version], broken: Iterable[str] = ()) -> dict[str, Param]:
    """The form. Journeys whose file is broken stay in it: a run that waits for an answer is to be told of the file, not of the form."""
    titles = {name: f"{version.journey.title} ({name})" for name, version in versions.items()}
    titles |= {name: f"{name}: its file has mistakes" for name in broken}
    steps = sorted({step.id for version in versions.values() for step in version.journey.steps})
    return {
        "journey": Param(
            type="string", title="Journey", enum=sorted(titles), values_display=titles
        ),
        "step": Param(
            type="string", title="Step", examples=steps, minLength=1,
            description="Its id, as the task group is called.",
        ),
        "first_day": Param(
            type="string", format="date", title="Cohorts from",
            description="The day on which the cohort entered, in the journey's time zone.",
        ),
        "last_day": Param(
            None, type=["null", "string"], format="date", title="Cohorts to",
            description="The last such day. Empty: that one day alone.",
        ),
        "mode": Param(
            None, type=["null", "string"], enum=[None, "live", "test"], title="Mode",
            values_display={"null": "live and test", "live": "live", "test": "test"},
        ),
        "who": Param(
            "failed", type="string", enum=list(WHO), title="Who",
            values_display={name: f"{name.replace('_', ' ')}: {meaning}" for name, meaning in WHO.items()},
        ),
        "reason": Param(
            type="string", title="Why", minLength=LEAST_REASON,
            description="For the audit log, in a few words. No names and addresses.",
        ),
        "dry_run": Param(
            True, type="boolean", title="Dry run",
            description="On: only counts who would get what. Look at the numbers first, then trigger it again with this off.",
        ),
    }  # fmt: skip


def _build(include: Path) -> DAG | None:
    workspace = load(read_files(include))
    versions = workspace.versions
    if not versions:
        return None
    dag = DAG(
        DAG_ID,
        description="A step once more for some people of past cohorts",
        doc_md=WORDS,
        schedule=None,
        catchup=False,
        max_active_runs=4,
        tags=["retention"],
        params=_make_params(versions, workspace.broken),
        auto_register=False,
        default_args={
            "owner": "retention", "retries": 3, "retry_delay": timedelta(seconds=30), "retry_policy": _RETRIES,
        },
    )  # fmt: skip
    with dag:
        numbers = NumbersOperator(task_id="numbers", include=str(include))
        approval = AskOperator(
            task_id="approval",
            subject="Send {{ params.journey }}/{{ params.step }} to people who had it before?",
            body="{{ ti.xcom_pull(task_ids='numbers', key='words') }}",
            response_timeout=timedelta(days=2),
        )
        plan = PlanOperator(task_id="plan", include=str(include), trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
        report = ReportOperator(task_id="report", trigger_rule=TriggerRule.NONE_FAILED, retries=0)
        numbers >> [approval, plan]
        approval >> plan >> report
        for channel in BATCH_SIZES:
            with TaskGroup(channel):
                pick = PickOperator(task_id="pick", channel=channel)
                deliver = DeliverOperator.partial(
                    task_id="deliver", channel=channel, include=str(include), pool=pool_of(channel)
                ).expand(shards=pick.output)
            plan >> pick
            deliver >> report
    return dag


def _read(context: Any, include: str) -> tuple[Version, Wish]:
    """The journey's files now, and what the form asks for. Raises RetentionError, ConfigError."""
    refuse_unknown_conf(context)
    params = context["params"]
    workspace = load(read_files(Path(include)))
    name = params["journey"]
    if name not in workspace.versions:
        raise (
            ConfigError(workspace.broken[name])
            if name in workspace.broken
            else RetentionError(
                f'journey: there is no "{name}" in include/journeys any more. Put its file back, with `status: draining`.'
            )
        )
    days = params["first_day"] + (f"..{params['last_day']}" if params.get("last_day") else "")
    wish = Wish(name, params["step"], *parse_days(days), params["who"], params["reason"], params.get("mode"))
    return workspace.versions[name], wish


def _rerun(context: Any, include: str, *, is_dry: bool) -> list[Repeated]:
    from retention.orchestration import cohort
    from retention.orchestration.rerun import rerun
    from retention.store.database import connect

    version, wish = _read(context, include)
    return rerun(
        connect(), version, wish,
        key=context["dag_run"].run_id,
        actor=name_actor(context["dag_run"]),
        policy=cohort.read_rules(Path(include)),
        is_dry=is_dry,
        approved=None if is_dry else _find_approved(context),
        is_stopped=version.journey.status == "stopped",
        approved_by=context["ti"].xcom_pull(task_ids="approval", key="answered_by"),
        on_progress=log.info,
    )  # fmt: skip


def _find_approved(context: Any) -> dict[int, int]:
    """Who may be contacted a second time: as many as somebody was shown, and approved. Marking the task as done is no approval, and
    counting anew changes none."""
    from retention.orchestration.rerun import find_question
    from retention.store.database import connect

    answer = context["ti"].xcom_pull(task_ids="approval") or {}
    is_approved = answer.get("chosen_options") == [ApprovalOperator.APPROVE]
    return (find_question(connect(), context["dag_run"].run_id) or {}) if is_approved else {}


def name_actor(dag_run: Any) -> str:
    """Who triggered the run, for the audit log; the run where Airflow does not say."""
    return getattr(dag_run, "triggering_user_name", None) or f"Airflow run {dag_run.run_id}"


class NumbersOperator(FactsOperator, BranchMixIn):
    """Counts what would happen, and goes on to the approval, to the plan, or, in a dry run, to the end."""

    inherits_from_skipmixin = True
    operator_extra_links = (NumbersLink(),)

    def __init__(self, *, include: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.include = include

    def work(self, context: Any) -> None:
        from retention.orchestration.rerun import remember_look
        from retention.store.database import connect

        found, wish = _rerun(context, self.include, is_dry=True), _read(context, self.include)[1]
        is_dry, sums = context["params"]["dry_run"], sum_up(found)
        remember_look(connect(), wish, found, key=context["dag_run"].run_id, actor=name_actor(context["dag_run"]))
        words = write_numbers(wish, found)
        log.info("%s", words)
        context["ti"].xcom_push(key="words", value=words)
        context["ti"].xcom_push(key="twice", value={str(it): count for it, count in list_twice(found).items()})
        if is_dry:
            log.info("Dry run: nothing was sent. Trigger it again with `Dry run` off.")
        context["ti"].xcom_push(key="return_value", value={**sums, "cohorts": len(found), "dry_run": is_dry})
        self.do_branch(context, None if is_dry else ["approval"] if sums["twice"] else ["plan"])  # does not come back


class AskOperator(ApprovalOperator):
    """Asks somebody; XCom `answered_by`: who it was. What was asked, and a rejection, are kept in the audit log."""

    operator_extra_links = (NumbersLink(),)

    def execute(self, context: Any) -> Any:
        from retention.orchestration.cohort import read_clock
        from retention.orchestration.rerun import note_question
        from retention.store.database import connect

        run, twice = context["dag_run"], context["ti"].xcom_pull(task_ids="numbers", key="twice") or {}
        note_question(
            connect(), context["params"]["journey"], key=run.run_id, actor=name_actor(run),
            approved={int(cohort_id): count for cohort_id, count in twice.items()}, at=read_clock(),
        )  # fmt: skip
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        from retention.orchestration.cohort import read_clock
        from retention.orchestration.rerun import note_refusal
        from retention.store.database import connect

        if "error" not in event:
            user = event.get("responded_by_user") or {}
            by = user.get("name") or user.get("id") or "nobody in time"
            context["ti"].xcom_push(key="answered_by", value=by)
            if event["chosen_options"] == [self.REJECT]:
                key = context["dag_run"].run_id
                note_refusal(connect(), context["params"]["journey"], key=key, actor=by, at=read_clock())
                log.info("rejected by %s: nothing is sent", by)
        return super().execute_complete(context, event)


class PlanOperator(FactsOperator):
    """Decides, once a run; XCom: the shards to deliver."""

    operator_extra_links = (NumbersLink(),)

    def __init__(self, *, include: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.include = include

    def work(self, context: Any) -> list[dict]:
        return [
            {"cohort_id": it.cohort_id, **shard}
            for it in _rerun(context, self.include, is_dry=False)
            for shard in it.shards
        ]


class PickOperator(BaseOperator):
    """The shards of the plan, dealt into tasks for one channel; nothing where the step does not go out on it."""

    def __init__(self, *, channel: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.channel = channel

    def execute(self, context: Any) -> list[list[dict]]:
        from retention.orchestration import cohort
        from retention.store.database import connect

        step = context["params"]["step"]
        shards, goes_on = context["ti"].xcom_pull(task_ids="plan") or [], {}
        for cohort_id in {it["cohort_id"] for it in shards}:
            goes_on[cohort_id] = self.channel in cohort.list_channels(connect(), cohort_id, step)
        mine = [it for it in shards if goes_on[it["cohort_id"]]]
        return _deal(mine, MOST_TASKS)


def _deal(shards: Sequence[dict], most: int) -> list[list[dict]]:
    size = max(1, -(-len(shards) // most))
    return [list(shards[at : at + size]) for at in range(0, len(shards), size)]


class DeliverOperator(FactsOperator):
    """Hands over some shards on one channel."""

    def __init__(self, *, channel: str, include: str, shards: list[dict], **kwargs: Any):
        super().__init__(**kwargs)
        self.channel, self.include, self.shards = channel, include, shards

    def work(self, context: Any) -> None:
        from retention.orchestration import cohort
        from retention.orchestration.connections import find_account
        from retention.orchestration.desk import is_stopped_by_file
        from retention.store.database import connect

        params, include, early = context["params"], Path(self.include), []
        is_stopped = is_stopped_by_file(include, params["journey"])
        for shard in self.shards:
            where = {name: shard[name] for name in ("wave", "shard", "of")}
            try:
                handled = cohort.deliver(
                    connect(), shard["cohort_id"], params["step"], self.channel,
                    **where, policy=cohort.read_rules(include), is_stopped=is_stopped,
                    find_account=find_account, on_progress=log.info,
                )  # fmt: skip
            except TooEarly as error:
                early.append(error)
                continue
            for it in handled:
                log.info("%s/%s: %s %s %d", it.step, it.channel, it.outcome, it.reason or "", it.count)
        if early:
            raise min(early, key=lambda error: error.at)


class ReportOperator(BaseOperator):
    """Says how the run ended: what became of its messages, or that nothing was sent and why."""

    operator_extra_links = (NumbersLink(),)

    def execute(self, context: Any) -> dict:
        from retention.orchestration.rerun import count_fates
        from retention.store.database import connect

        if context["params"]["dry_run"]:
            log.info("a dry run: nothing was sent")
            return {}
        fates = count_fates(connect(), context["dag_run"].run_id)
        for fate, messages in sorted(fates.items()):
            log.info("%s: %d", fate, messages)
        if not fates:
            log.info("nothing was sent")
        return fates
