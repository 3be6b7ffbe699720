"""Requests made of the OpenAPI document by schemathesis: no answer may be a 5xx, or one that is not documented."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
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
ENDLESS = {"GET /events"}  # a stream: an answer to it never ends


@dataclass
class Fuzzed:
    """What was sent and answered.

    Attributes:
        requests: how many, by endpoint.
        statuses: how many answers of each.
    """

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)


def fuzz(url: str, known: Mapping[str, str], *, requests_each: int, first_seed: int = 0) -> Fuzzed:
    """Send so many requests to each endpoint of a gateway in development mode.

    Args:
        url: where it is.
        known: of things that there are, the names: `facility_id`, …; every fourth request is about them.
        requests_each: to each endpoint.
        first_seed: other requests with another one.

    Raises:
        Exception: an answer is none that the document allows; it shows the request.
    """
    document = from_url(f"{url}/openapi.json")
    fuzzed = Fuzzed()
    for found in document.get_all_operations():
        if not isinstance(found, Ok):
            raise found.err()
        operation = found.ok()
        name = f"{operation.method.upper()} {operation.path}"
        if name in ENDLESS:
            continue
        asked = _requests(operation, known)
        _send(asked, name, fuzzed, requests_each, first_seed)
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


def _send(asked: SearchStrategy[Case], name: str, fuzzed: Fuzzed, count: int, number: int) -> None:
    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(case=asked)
    def send(case: Case) -> None:
        answer = case.call(timeout=60)
        fuzzed.requests[name] += 1
        fuzzed.statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    send()
