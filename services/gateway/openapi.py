"""The OpenAPI document: what FastAPI cannot know of our bodies, answers and problems."""

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.gateway.answers import Availability, Capacity, ClosedSlot, Doctor, Token
from services.gateway.problems import KINDS, MEDIA_TYPE, ProblemDetails
from services.gateway.requests import POSITION
from services.gateway.shapes import Pending

_REF = "#/components/schemas/{model}"
_HEADERS = {
    "Idempotency-Key": "The key of the request: the one given, or the one made.",
    POSITION: "What a later GET sends to see this for sure.",
}
_ANSWERS: tuple[type[BaseModel], ...] = (
    Token,
    Doctor,
    Capacity,
    Availability,
    ClosedSlot,
    Pending,
    ProblemDetails,
)
_OF_A_TOKEN = {
    "token": "get /tokens/{token_id}",
    "cancel": "post /tokens/{token_id}/cancel",
    "checkIn": "post /tokens/{token_id}/check-in",
    "noShow": "post /tokens/{token_id}/no-show",
    "complete": "post /tokens/{token_id}/complete",
}
_bodies: set[type[BaseModel]] = set()


def taking(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Describe a body that is read by `requests.body`."""
    _bodies.add(model)
    return {"requestBody": {"required": required, "content": _content("application/json", model)}}


def written(*answers: tuple[int, type[BaseModel]]) -> dict[int | str, dict[str, Any]]:
    """Describe the answers to a write."""
    headers = {name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()}
    described: dict[int | str, dict[str, Any]] = {}
    for status in {status for status, _ in answers}:
        schemas = [{"$ref": _REF.format(model=model.__name__)} for each, model in answers if each == status]
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        content = {"application/json": {"schema": schema}}
        links = _links(_OF_A_TOKEN, token_id="token_id") if (status, Token) in answers else {}  # noqa: S106  a field
        described[status] = {"description": "Done.", "headers": headers, "content": content, "links": links}
    later = {"Location": {"description": "Where to ask for the outcome.", "schema": {"type": "string"}}}
    described[202] = {
        "description": "Written; its outcome is not known yet.",
        "headers": headers | later,
        "content": _content("application/json", Pending),
        "links": _links({"outcome": "get /commands/{command_place}"}, command_place="command"),
    }
    return described | problems(401, 403, 404, 408, 409, 412, 413, 415, 422, 429, 501, 503)


def _links(operations: Mapping[str, str], **parameters: str) -> dict[str, Any]:
    """Describe what can be asked next with what an answer holds: for each parameter, the field that gives it."""
    given = {name: f"$response.body#/{field}" for name, field in parameters.items()}
    links = {}
    for name, operation in operations.items():
        method, path = operation.split()
        links[name] = {"operationRef": f"#/paths/{path.replace('/', '~1')}/{method}", "parameters": given}
    return links


def read(*more: int) -> dict[int | str, dict[str, Any]]:
    """Describe the refusals of a read."""
    return problems(401, 403, 408, 412, 413, 422, 429, 503, *more)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe refusals, and which there are with each status."""
    return {
        status: {
            "description": "; ".join(kind.title for kind in KINDS.values() if kind.status == status),
            "content": _content(MEDIA_TYPE, ProblemDetails),
        }
        for status in statuses
    }


def _content(media_type: str, model: type[BaseModel]) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": _REF.format(model=model.__name__)}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """Give the whole document."""
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
    )
    bodies = sorted(_bodies, key=lambda model: model.__name__)
    models: list[tuple[type[BaseModel], Literal["validation"]]] = [
        (each, "validation") for each in (*_ANSWERS, *bodies)
    ]
    _, ours = models_json_schema(models, ref_template=_REF)
    components = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in ours["$defs"].items():
        components.setdefault(name, schema)
    for name in ("HTTPValidationError", "ValidationError"):  # ours are problem details
        components.pop(name, None)
    return document
