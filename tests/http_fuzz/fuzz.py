"""Requests made of the OpenAPI document by schemathesis: no answer may be a 5xx, or one that is not documented."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy
from schemathesis import APIOperation as AnyOperation
from schemathesis import Case as AnyCase
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.openapi import from_url
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

APIOperation = AnyOperation[Any, Any, Any, Any]
Case = AnyCase[Any]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_TIMEOUT_S = 60
_STORIES = 10  # of one seed
_SETTINGS = settings(
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})
ENDLESS = "/events"  # a stream: an answer to it never ends


def _nobody(_sent: int) -> None:
    """Hear nothing."""


@dataclass
class Fuzzed:
    """What was sent and answered.

    Attributes:
        requests: how many, by endpoint.
        statuses: how many answers of each.
        heard_by: is told after each request how many there were.
    """

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    heard_by: Callable[[int], object] = _nobody

    def note(self, name: str, status: int) -> None:
        """Count one."""
        self.requests[name] += 1
        self.statuses[status] += 1
        self.heard_by(self.requests.total())


def fuzz(
    url: str,
    known: Mapping[str, str],
    *,
    requests_each: int = 0,
    methods: Collection[str] = METHODS,
    requests_in_stories: int = 0,
    first_seed: int = 0,
    heard_by: Callable[[int], object] = _nobody,
) -> Fuzzed:
    """Send so many requests to each endpoint of a gateway in development mode, and follow its links.

    Args:
        url: where it is.
        known: of things that there are, the names: `facility_id`, …; every fourth request is about them.
        requests_each: to each endpoint.
        methods: of the endpoints that they go to.
        requests_in_stories: so many at least that follow each other, each about what answers before it told of.
        first_seed: other requests with another one.
        heard_by: is told after each request how many there were.

    Raises:
        Exception: an answer is none that the document allows; it shows the request.
    """
    document = from_url(f"{url}/openapi.json").exclude(path=ENDLESS)
    fuzzed = Fuzzed(heard_by=heard_by)
    for found in document.get_all_operations():
        if not isinstance(found, Ok):
            raise found.err()
        operation = found.ok()
        if not requests_each or operation.method.upper() not in methods:
            continue
        name = f"{operation.method.upper()} {operation.path}"
        asked = _requests(operation, known)
        _send(asked, name, fuzzed, requests_each, first_seed)
    if requests_in_stories:
        _tell(document, known, fuzzed, requests_in_stories, first_seed)
    return fuzzed


def _requests(operation: APIOperation, known: Mapping[str, str]) -> SearchStrategy[Case]:
    """Give what the document allows, the same about what there is, and what it forbids."""
    allowed = operation.as_strategy(generation_mode=GenerationMode.POSITIVE).map(_at_once)
    forbidden = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE).map(_at_once)
    about = allowed.map(_let_in).map(lambda case: _about(case, known))
    return allowed | about | allowed.map(_let_in) | forbidden.map(_let_in)


def _at_once(case: Case) -> Case:
    """Give the request without an invented position, which would only be waited for."""
    case.headers.pop("opd-position", None)
    return case


def _let_in(case: Case) -> Case:
    """Give the request without its invented token, at which most would end."""
    case.headers.pop("Authorization", None)
    return case


def _about(case: Case, known: Mapping[str, str]) -> Case:
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            part.update({name: value for name, value in known.items() if name in part})
    return case


def _tell(document: Any, known: Mapping[str, str], fuzzed: Fuzzed, count: int, number: int) -> None:
    faults: list[Exception] = []

    class Story(document.as_state_machine()):  # type: ignore[misc]  # made of the document
        def before_call(self, case: Case) -> None:
            _let_in(_at_once(case))
            if case.method == "POST" and case.path in {"/tokens", "/doctors"}:
                _about(case, known)  # else nothing would ever be issued
            if isinstance(case.body, dict) and "patient_id" in case.body:
                case.body["patient_id"] = f"p{fuzzed.requests.total()}"

        def get_call_kwargs(self, _case: Case) -> dict[str, Any]:
            return {"timeout": _TIMEOUT_S, "session": session}

        def validate_response(self, response: Any, case: Case, *_: Any, **__: Any) -> None:
            fuzzed.note(f"{case.method} {case.path}", response.status_code)
            try:
                case.validate_response(response, checks=CHECKS)
            except Exception as fault:
                faults.append(fault)
                raise

    enough = fuzzed.requests.total() + count
    with requests.Session() as session:
        while fuzzed.requests.total() < enough:
            # The same choices should lead to the same answers, thinks Hypothesis; but a gateway remembers.
            with suppress(Flaky):
                seed(number)(Story).run(settings=settings(_SETTINGS, max_examples=_STORIES, stateful_step_count=20))
            if faults:
                raise faults[0]
            number += 1


def _send(asked: SearchStrategy[Case], name: str, fuzzed: Fuzzed, count: int, number: int) -> None:
    @seed(number)
    @settings(_SETTINGS, max_examples=count)
    @given(case=asked)
    def send(case: Case) -> None:
        answer = case.call(timeout=_TIMEOUT_S, session=session)
        fuzzed.note(name, answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    with requests.Session() as session:
        send()
