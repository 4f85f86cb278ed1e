"""The life of a cohort, call by call: enter, plan, deliver, settle. What Airflow's tasks and the command line both run.

Knows no Airflow. Each call is one task's work, opens its own transactions and may be repeated at any time. The clock is
the caller's; a test cohort that is `on_time` pretends that every step runs at its due moment.

While a load's data are held (intake.data_holds), enroll, plan and deliver refuse before they do anything, and once more
before they commit: facts that came in meanwhile may have been read. What was refused is done by calling again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine

from retention.audience.entry import Entered, enter_cohort
from retention.audience.scores.freshness import Freshness, find_scores, judge_freshness, judge_standings
from retention.delivery import pacing
from retention.delivery.accounts import read_account
from retention.delivery.batch_worker import Errand
from retention.delivery.channels import Provider
from retention.delivery.choose import FindAccount, choose_provider
from retention.delivery.deliver import Handled, deliver_step
from retention.delivery.plan import Decided, fetch_cohort, plan_fallback, plan_step
from retention.delivery.reconcile import SETTLES_AFTER, Reconciled, reconcile
from retention.errors import BooksOpen, CohortHeld, DataHeld, ScoresOld
from retention.insight.books import close_books, find_gaps
from retention.insight.redemptions import Matched, match_coupons
from retention.intake.data_holds import find_fit_moment, find_hold, find_last_lift
from retention.journey.files import read_files
from retention.journey.load import Version, load_version
from retention.journey.notation import write_duration
from retention.journey.policy import Policy, read_policy
from retention.journey.scores import Scoring, load_scores
from retention.orchestration.pool_needs import warn_of_needs
from retention.store.audit import note
from retention.store.database import ROOT
from retention.store.months import open_months
from retention.store.queries import run
from retention.store.versions import content_of_cohort

Clock = Callable[[], datetime]
Progress = Callable[[str], None]

MAX_SHARDS = 8
BATCHES_A_SHARD = 20
LONGEST_TURN = timedelta(minutes=10)


def read_clock() -> datetime:
    """The present, in UTC. The only place of the engine's callers that reads it."""
    return datetime.now(UTC)


def quiet(line: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Planned:
    """A step's decisions as counts, and the shards its batches are dealt into: [{wave, shard, of}].

    The same shards serve every channel; there is always one, so that a step without messages is delivered, too.
    """

    decided: list[Decided]
    shards: list[dict]


def find_data_hold(engine: Engine) -> str | None:
    """Why nothing goes on until the facts are better, and what to do; None while they are fit."""
    with engine.connect() as conn:
        return find_hold(conn)


def find_last_data_lift(engine: Engine) -> datetime | None:
    """When data that were held were let go last."""
    with engine.connect() as conn:
        return find_last_lift(conn)


def refuse_bad_data(conn: Connection) -> None:
    """Raises DataHeld while the facts are not fit to decide on."""
    held = find_hold(conn)
    if held:
        raise DataHeld(held)


def find_freshness(engine: Engine, version: Version, cohort_at: datetime, rules: Scoring) -> Freshness | None:
    """How the scores stand that the journey's audience reads; None where it reads none."""
    scores = find_scores(version.audiences.values())
    if not scores:
        return None
    with engine.connect() as conn:
        return judge_freshness(conn, scores, cohort_at, rules)


def are_scores_there(engine: Engine, scores: Sequence[str], cohort_at: datetime, due_at: datetime) -> bool:
    """Whether a cohort need not wait any more: its scores stand at `due_at` or later, or can't come any more."""
    with engine.connect() as conn:
        found = judge_standings(conn, tuple(scores), cohort_at, due_at)
    return found.is_fresh or not found.may_come


def _note_scores(
    conn: Connection,
    version: Version,
    entered: Entered,
    cohort_at: datetime,
    rules: Scoring | None,
    now: datetime,
    actor: str,
) -> str | None:
    """What is to be said of old scores, noted at the cohort. Raises ScoresOld where they will not do."""
    scores = find_scores(version.audiences.values())
    if not scores or entered.is_joined:
        return None
    rules = rules or load_scores(ROOT / "include").scoring
    found = judge_freshness(conn, scores, cohort_at, rules)
    if found.is_fresh:
        return None
    if not found.is_young:
        remedy = (
            "Clear what failed in the DAG scoring, or `retention score --date "
            f"{cohort_at.astimezone(rules.zone).isoformat(timespec='minutes')}`, then clear the task `enroll` of this run."
            if found.may_come
            else "Later ones stand, so that none can be worked out for this cohort any more: leave it, or allow older "
            "ones (`oldest` under `scoring` in include/scores.yaml), then clear the task `enroll` of this run."
        )
        raise ScoresOld(
            f"{version.journey.journey}: {found}, and more than {write_duration(rules.oldest)} is too old. {remedy}"
        )
    detail = {"scores": list(found.scores), "as_of": found.as_of.isoformat(), "due_at": found.due_at.isoformat()}
    note(conn, now, actor, "old_scores", version.journey.journey, detail, entered.cohort_id)
    return f"{found}; this cohort goes by what there is"


def enroll(
    engine: Engine,
    version: Version,
    cohort_at: datetime,
    *,
    mode: str | None = None,
    is_past: bool = False,
    is_on_time: bool = False,
    is_size_approved: bool = False,
    actor: str = "engine",
    run_id: str | None = None,
    scoring: Scoring | None = None,
    clock: Clock = read_clock,
    on_progress: Progress = quiet,
) -> Entered:
    """Take in the cohort of this moment, or join the one that is there; `run_id` is the Airflow run that carries it.

    `is_past`: a day gone by is asked for, whose cohort is a test unless `mode` says live. `scoring`: how old scores may be
    that the audience reads; None reads the project's. Older than due, but young enough:
    that is noted at the cohort. Raises ScoresOld when they are not, CohortHeld when its size waits for an approval (the
    cohort is on record as held), DataHeld, AudienceError.
    """
    with engine.begin() as conn:
        open_months(conn, clock())
    with engine.begin() as conn:
        refuse_bad_data(conn)
        entered = enter_cohort(
            conn,
            version,
            cohort_at,
            mode=mode,
            is_past=is_past,
            now=clock(),
            known_at=find_fit_moment(conn, cohort_at),
            is_on_time=is_on_time,
            is_size_approved=is_size_approved,
            actor=actor,
            on_progress=on_progress,
        )
        if old := _note_scores(conn, version, entered, cohort_at, scoring, clock(), actor):
            on_progress(old)
        if entered.mode == "live":
            for line in warn_of_needs(conn, version, entered.eligible - entered.holdout, clock()):
                on_progress(line)
        if run_id:
            run(conn, "entry/remember_run", run_id=run_id, cohort_id=entered.cohort_id, now=clock())
        refuse_bad_data(conn)
    if entered.held:
        raise CohortHeld(entered.held)
    return entered


def pinned_version(engine: Engine, cohort_id: int) -> Version:
    """The text this cohort entered on, whatever the files say now."""
    with engine.connect() as conn:
        return load_version(content_of_cohort(conn, cohort_id))


def step_clock(engine: Engine, version: Version, cohort_id: int, step_id: str, clock: Clock = read_clock) -> Clock:
    """The present as this cohort's step sees it: its due moment for a test that is `on_time`, else the clock."""
    with engine.connect() as conn:
        cohort = fetch_cohort(conn, cohort_id)
    if not cohort.is_on_time:
        return clock
    due_at = version.journey.due_at(version.journey.step(step_id), cohort.cohort_at)
    return lambda: due_at


def due_at(engine: Engine, cohort_id: int, step_id: str) -> datetime | None:
    """When the step is due; None where nothing is to be waited for: an on-time test, or a step this cohort has not."""
    version = pinned_version(engine, cohort_id)
    with engine.connect() as conn:
        cohort = fetch_cohort(conn, cohort_id)
    if cohort.is_on_time or not _has_step(version, step_id):
        return None
    return version.journey.due_at(version.journey.step(step_id), cohort.cohort_at)


def is_turn(engine: Engine, cohort_id: int, step_id: str, *, clock: Clock = read_clock) -> bool:
    """Whether the steps due before this one are through, for a test that pretends to be on time.

    Real time keeps steps in order by itself. After LONGEST_TURN the step goes on, whatever became of the others.
    """
    version = pinned_version(engine, cohort_id)
    with engine.connect() as conn:
        cohort = fetch_cohort(conn, cohort_id)
        if not _has_step(version, step_id) or clock() > cohort.created_at + LONGEST_TURN:
            return True
        mine = version.journey.step(step_id).at.offset
        unfinished = {step for step, *_ in find_gaps(conn, version, cohort_id)}
    return not any(step.at.offset < mine and step.id in unfinished for step in version.journey.steps)


def plan(
    engine: Engine,
    cohort_id: int,
    step_id: str,
    *,
    is_fallback: bool = False,
    policy: Policy | None = None,
    is_stopped: bool = False,
    clock: Clock = read_clock,
    on_progress: Progress = quiet,
) -> Planned:
    """Decide a step for everybody in the cohort. A step that the cohort's version has not decides nothing.

    `is_fallback`: decide it anew, on its other channels, for those whose message bounced. `policy`: the rules of contact,
    which are never pinned; None reads the project's. `is_stopped`: the journey's file says `stopped` now, which is never
    pinned either. Raises DataHeld, and ConfigError for a policy that can't be read.
    """
    version = pinned_version(engine, cohort_id)
    if not _has_step(version, step_id):
        return Planned([], deal_batches([]))
    now = step_clock(engine, version, cohort_id, step_id, clock)()
    decide, policy = plan_fallback if is_fallback else plan_step, policy or read_rules()
    with engine.begin() as conn:
        refuse_bad_data(conn)
        facts_at = find_facts_at(conn, version, cohort_id, step_id)
        decided = decide(
            conn,
            version,
            cohort_id,
            step_id,
            policy=policy,
            now=now,
            facts_at=facts_at,
            is_stopped_by_file=is_stopped,
            on_warning=on_progress,
        )
        open_batches = run(conn, "plan/count_open_batches", cohort_id=cohort_id, step=step_id).all()
        refuse_bad_data(conn)
    return Planned(decided, deal_batches(open_batches))


def read_rules(include: Path = ROOT / "include") -> Policy:
    """The rules of contact as they stand in the files now. Raises ConfigError."""
    return read_policy(read_files(include))


def find_facts_at(conn: Connection, version: Version, cohort_id: int, step_id: str) -> datetime:
    """As of when the step is decided and written: its due moment or, if data were held then, when they were let go."""
    cohort = fetch_cohort(conn, cohort_id)
    return find_fit_moment(conn, version.journey.due_at(version.journey.step(step_id), cohort.cohort_at))


def deal_batches(open_batches: Sequence[tuple[int, int]]) -> list[dict]:
    """Shards for (wave, batches of the channel that has most)."""
    shards = []
    for wave, most in open_batches or [(0, 1)]:
        of = min(MAX_SHARDS, -(-most // BATCHES_A_SHARD))
        shards += [{"wave": wave, "shard": shard, "of": of} for shard in range(of)]
    return shards


def deliver(
    engine: Engine,
    cohort_id: int,
    step_id: str,
    channel: str,
    *,
    shard: int = 0,
    of: int = 1,
    wave: int = 0,
    policy: Policy | None = None,
    is_stopped: bool = False,
    find_account: FindAccount = read_account,
    clock: Clock = read_clock,
    on_progress: Progress = quiet,
) -> list[Handled]:
    """Hand over one shard of a step's planned messages on one channel. Raises TooEarly, ProviderPaused and RetryLater when
    calling again will help, AccountRefused and ConfigError when a person has to act, DataHeld; a hold that is placed meanwhile
    ends it before the next batch, which stays ready."""
    version = pinned_version(engine, cohort_id)
    if not _has_step(version, step_id):
        return []
    with engine.connect() as conn:
        refuse_bad_data(conn)
        facts_at = find_facts_at(conn, version, cohort_id, step_id)
        mode = fetch_cohort(conn, cohort_id).mode
    seen = step_clock(engine, version, cohort_id, step_id, clock)
    errand = Errand(
        version,
        cohort_id,
        step_id,
        channel,
        shard=shard,
        of=of,
        wave=wave,
        is_stopped_by_file=is_stopped,
        facts_at=facts_at,
        choices=_list_choices(version, step_id, channel, policy or read_rules()),
    )
    with closing(choose_provider(engine, channel, mode=mode, find_account=find_account, clock=seen)) as provider:
        return deliver_step(
            engine, errand, provider=provider, clock=seen, on_progress=on_progress, refuse=refuse_bad_data
        )


def _list_choices(version: Version, step_id: str, channel: str, policy: Policy) -> tuple[str, ...]:
    """What takes somebody out who refuses it between the plan and the hand-over."""
    purpose = version.templates[version.journey.step(step_id).send.template].purpose
    topic = (
        (f"topic:{version.journey.topic}",)
        if getattr(version.journey, "topic", None) and purpose == "marketing"
        else ()
    )
    return (*policy.consents_needed(purpose, channel, None), *topic)


def list_channels(engine: Engine, cohort_id: int, step_id: str) -> tuple[str, ...]:
    """The channels that a step of this cohort may go out on, in their order."""
    version = pinned_version(engine, cohort_id)
    return version.journey.step(step_id).send.order if _has_step(version, step_id) else ()


def find_pause(engine: Engine, account: str) -> float:
    """For how many seconds a provider is not to be asked; 0 when it may be."""
    with engine.connect() as conn:
        return pacing.find_pause(conn, account)


def settle(
    engine: Engine,
    cohort_id: int,
    *,
    find_account: FindAccount = read_account,
    clock: Clock = read_clock,
    on_progress: Progress = quiet,
) -> None:
    """Close the cohort's books, once doubts are settled as far as events and the providers settle them.

    Raises BooksOpen when somebody has no decision or some send no answer; `again_at` is set where nothing is missing but
    answers about messages that are too new to be asked about.
    """
    version = pinned_version(engine, cohort_id)
    with engine.connect() as conn:
        doubts = run(conn, "deliver/list_doubts", cohort_id=cohort_id).all()
    if doubts:
        settle_doubts(engine, cohort_id, find_account=find_account, clock=clock, on_progress=on_progress)
    redeem(engine, clock=clock, on_progress=on_progress)
    with engine.begin() as conn:
        now, gaps = clock(), find_gaps(conn, version, cohort_id)
        try:
            close_books(conn, version, cohort_id, now=now)
        except BooksOpen as books:
            newest = max((it.sending_at for it in doubts), default=0)
            again_at = datetime.fromtimestamp(newest, UTC) + SETTLES_AFTER + timedelta(seconds=1)
            if {gap for _, gap, _ in gaps} == {"in doubt"} and again_at > now:
                books.again_at = again_at
            raise


def redeem(engine: Engine, *, clock: Clock = read_clock, on_progress: Progress = quiet) -> Matched:
    """Hold all coupons with news against the orders, as of now. May be repeated at any time."""
    with engine.begin() as conn:
        now = clock()
        done = match_coupons(conn, as_of=now, now=now)
    if done.changed:
        states = ", ".join(f"{count} {state}" for state, count in sorted(done.states.items()))
        on_progress(f"coupons: {done.looked_at} looked at, {states}")
    return done


def settle_doubts(
    engine: Engine,
    cohort_id: int | None = None,
    *,
    find_account: FindAccount = read_account,
    clock: Clock = read_clock,
    on_progress: Progress = quiet,
) -> Reconciled:
    """Settle doubts of one cohort, or of all, by events and by asking. Providers that can't be asked are told, not raised."""

    def provider_of(channel: str, mode: str) -> Provider:
        return choose_provider(engine, channel, mode=mode, find_account=find_account, clock=clock)

    done = reconcile(engine, now=clock(), cohort_id=cohort_id, provider_of=provider_of, on_progress=on_progress)
    on_progress(f"doubts settled: {done.by_events} by events, {done.by_asking} by asking")
    for trouble in done.troubles:
        on_progress(f"could not ask: {trouble}")
    return done


def _has_step(version: Version, step_id: str) -> bool:
    return any(step.id == step_id for step in version.journey.steps)
