"""The pages in the Airflow UI: routes, who may see them, and what is said when something is missing. Changes nothing.

Knows no Airflow: `plugin.py` hands in its guards. Every route is behind the login, those of a journey behind its DAG's
rights, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from retention.errors import RetentionError, StoreError
from retention.orchestration.cohort import Clock, read_clock
from retention.store.database import ROOT, connect, is_at_hand
from retention.web import segment_words, views
from retention.web.page import MAIL_POLICY, make_page
from retention.web.reruns import view_rerun
from retention.web.segments import view_segments

log = logging.getLogger(__name__)

RERUNS = "rerun_step"
"""The DAG whose runs carry no cohort of their own, but some of a journey's once more."""

Number = Annotated[int, InPath(ge=0, lt=2**63)]
Cursor = Annotated[int | None, Query(ge=0, lt=2**63)]
Word = Annotated[str | None, Query(max_length=200)]


@dataclass(frozen=True)
class Guards:
    """Dependencies of FastAPI. `login` refuses strangers (401), `journey` those who may not read the DAG that the path
    names `dag_id` (403), `list_readable` returns the ids that the user may read."""

    login: Callable[..., Any]
    journey: Callable[..., Any]
    list_readable: Callable[..., set[str]]


def find_engine() -> Engine:
    """Our database. Raises StoreError where none is named and none runs: a page starts no server."""
    if not is_at_hand():
        raise StoreError("database: none is running. Start it with `make run`, or set RETENTION_DATABASE_URL.")
    return connect()


def build_app(
    guards: Guards,
    *,
    engine: Callable[[], Engine] = find_engine,
    include: Path = ROOT / "include",
    clock: Clock = read_clock,
) -> FastAPI:
    """The sub-app to mount. It serves no API description: there would be nobody to ask for a login."""
    app = FastAPI(
        dependencies=[Depends(guards.login)], docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    of_journey, those_readable = [Depends(guards.journey)], Depends(guards.list_readable)
    _explain_errors(app)

    @app.get("/")
    def journeys(request: Request, readable: set[str] = those_readable) -> HTMLResponse:
        return make_page(request, "journeys", **views.view_journeys(engine(), include, clock(), readable))

    @app.get("/data")
    def data(request: Request, before: Cursor = None) -> HTMLResponse:
        return make_page(request, "data", **views.view_data(engine(), before))

    @app.get("/segments")
    def segments(request: Request, date: Word = None, scheme: Word = None, lang: Word = None) -> HTMLResponse:
        language = segment_words.choose_language(lang, request.headers.get("accept-language", ""))
        view = view_segments(engine(), include, clock(), date=date, scheme=scheme, language=language)
        return make_page(request, "segments", **view)

    @app.get("/journeys/{dag_id}", dependencies=of_journey)
    def journey(request: Request, dag_id: str, before: Cursor = None) -> HTMLResponse:
        view = views.view_journey(engine(), include, clock(), dag_id, before)
        return make_page(request, "journey", **view) if view else _say_no_journey(request, dag_id)

    @app.get("/journeys/{dag_id}/runs/{run_id}", dependencies=of_journey)
    def run(request: Request, dag_id: str, run_id: str) -> HTMLResponse:
        if dag_id == RERUNS:
            view = view_rerun(engine(), run_id)
            return make_page(request, "rerun", **view) if view else _say_not_counted(request, run_id)
        cohort_id = views.find_cohort_of_run(engine(), dag_id, run_id)
        if cohort_id is None:
            return _say_no_run(request, dag_id, run_id)
        return cohort(request, dag_id, cohort_id)

    @app.get("/journeys/{dag_id}/cohorts/{cohort_id}", dependencies=of_journey)
    def cohort(
        request: Request, dag_id: str, cohort_id: Number,
        after: Cursor = None, step: Word = None, channel: Word = None,
    ) -> HTMLResponse:  # fmt: skip
        view = views.view_cohort(engine(), clock(), dag_id, cohort_id, after=after or 0, step=step, channel=channel)
        return make_page(request, "cohort", **view) if view else _say_no_cohort(request, dag_id)

    @app.get("/journeys/{dag_id}/cohorts/{cohort_id}/messages/{message_id}", dependencies=of_journey)
    def message(request: Request, dag_id: str, cohort_id: Number, message_id: Number) -> HTMLResponse:
        view = views.view_letter(engine(), clock(), dag_id, cohort_id, message_id)
        return make_page(request, "letter", policy=MAIL_POLICY, **view) if view else _say_no_letter(request, dag_id)

    return app


def _say(request: Request, status_code: int, title: str, *lines: str, journey: str | None = None) -> HTMLResponse:
    return make_page(request, "problem", status_code=status_code, title=title, lines=list(lines), journey=journey)


def _say_no_run(request: Request, journey: str, run_id: str) -> HTMLResponse:
    return _say(
        request, 404, "No numbers for this run yet",
        f"The run {run_id} of {journey} has not taken in its customers.",
        "If its task enroll waits or runs, look again when it is done.",
        "If enroll failed, its log says why: mend that, then clear enroll.",
        "If this DAG is no journey, it has no numbers here.",
        journey=journey,
    )  # fmt: skip


def _say_not_counted(request: Request, run_id: str) -> HTMLResponse:
    return _say(
        request, 404, "No numbers for this run yet",
        f"The run {run_id} has not counted yet. If its task numbers failed, its log says why.",
    )  # fmt: skip


def _say_no_journey(request: Request, journey: str) -> HTMLResponse:
    return _say(
        request, 404, "No journey of this name",
        f"{journey} has no file in include/journeys and never took anybody in.",
        "Only the DAGs of journeys have cohorts.",
    )  # fmt: skip


def _say_no_cohort(request: Request, journey: str) -> HTMLResponse:
    return _say(
        request, 404, "No such cohort", f"{journey} has no cohort of this number. Choose one from its list.",
        journey=journey,
    )  # fmt: skip


def _say_no_letter(request: Request, journey: str) -> HTMLResponse:
    return _say(
        request, 404, "No such message to look at",
        "Only messages of test cohorts that lie in the outbox are shown. Choose one from the list of a test cohort.",
        journey=journey,
    )  # fmt: skip


def _explain_errors(app: FastAPI) -> None:
    """Every error becomes a page that says what to do. None of them shows parameters or a stack."""

    @app.exception_handler(HTTPException)
    def on_refusal(request: Request, error: HTTPException) -> HTMLResponse:
        title, remedy = {
            401: ("Please log in", "Open Airflow in this browser, log in there, and load this page again."),
            403: ("Not yours to see", "Your Airflow user may not read this DAG. Ask whoever manages its roles."),
            404: ("There is no such page", "Begin with the list of journeys."),
        }.get(error.status_code, ("That did not work", "Begin with the list of journeys."))
        return _say(request, error.status_code, title, remedy)

    @app.exception_handler(RequestValidationError)
    def on_nonsense(request: Request, error: RequestValidationError) -> HTMLResponse:
        return _say(request, 404, "There is no such page", "Its address is not whole. Begin with the list of journeys.")

    @app.exception_handler(RetentionError)
    def on_problem(request: Request, error: RetentionError) -> HTMLResponse:
        return _say(request, 503, "That can't be shown now", *str(error).splitlines())

    @app.exception_handler(SQLAlchemyError)
    def on_database(request: Request, error: SQLAlchemyError) -> HTMLResponse:
        log.exception("a page could not be read from the database")
        return _say(
            request, 503, "The database did not answer as it should",
            "If this code was just updated, run `retention migrate`.",
            "Otherwise check that Postgres runs and is not too busy, and load this page again.",
        )  # fmt: skip

    @app.exception_handler(Exception)
    def on_mistake(request: Request, error: Exception) -> HTMLResponse:
        return _say(request, 500, "A mistake of ours", "The log of Airflow's api-server says more.")
