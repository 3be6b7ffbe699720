"""Routes that work out once how their endpoints are called, and not with every request.

FastAPI looks at each dependency anew each time: half of what a booking costs the processor. What it found out of the
signatures is kept (`Dependant`), and so are its documents, its order and its errors; only the way through is ours. A
route that asks for more than is known here is left to FastAPI.
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from operator import attrgetter
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.params import ParamTypes
from fastapi.routing import APIRoute
from pydantic import BaseModel

_Errors = list[Any]
_NOT_CALLED = object()
_PARTS: dict[ParamTypes, Callable[[Request], Mapping[str, str]]] = {
    ParamTypes.path: attrgetter("path_params"),
    ParamTypes.query: attrgetter("query_params"),
    ParamTypes.header: attrgetter("headers"),
}


class _Field(NamedTuple):
    """One parameter of an address or a head.

    Attributes:
        name: of the function's argument.
        alias: as it stands in the request.
        place: in which part of it.
        model: FastAPI's own idea of it.
    """

    name: str
    alias: str
    place: ParamTypes
    model: Any

    def read(self, request: Request, values: dict[str, Any], errors: _Errors) -> None:
        """Add its value, or what is wrong with it."""
        text = _PARTS[self.place](request).get(self.alias)
        if text is None and not self.model.field_info.is_required():
            values[self.name] = self.model.get_default()
            return
        loc = (self.place.value, self.alias)
        if text is None:
            errors.append({"type": "missing", "loc": loc, "msg": "Field required", "input": None})
            return
        value, wrong = self.model.validate(text, {}, loc=loc)
        errors.extend(wrong)
        values[self.name] = value


class _Call(NamedTuple):
    """One function, and where its arguments come from."""

    function: Callable[..., Awaitable[Any]]
    request: str | None  # the name of the argument that is to be the request
    dependencies: tuple[tuple[str | None, "_Call"], ...]
    fields: tuple[_Field, ...]

    async def __call__(self, request: Request, known: dict[Any, Any], errors: _Errors) -> Any:
        """Call it once a request, if all is well with its arguments; else add what is not."""
        values: dict[str, Any] = {}
        faults: _Errors = []
        for name, dependency in self.dependencies:
            value = known.get(dependency.function, _NOT_CALLED)
            if value is _NOT_CALLED:
                value = await dependency(request, known, faults)
            if name is not None:
                values[name] = value
        for field in self.fields:
            field.read(request, values, faults)
        if self.request is not None:
            values[self.request] = request
        if faults:
            errors.extend(faults)
            return _NOT_CALLED
        value = known[self.function] = await self.function(**values)
        return value


class QuickRoute(APIRoute):
    """A route of ours."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give what answers a request."""
        call = _planned(self.dependant)
        more = (self.body_field, self.status_code, self.response_model_include, self.response_model_exclude)
        leaves_out = self.response_model_exclude_unset or self.response_model_exclude_defaults
        if call is None or leaves_out or any(each is not None for each in more):
            return super().get_route_handler()

        async def handle(request: Request) -> Response:
            errors: _Errors = []
            answer = await call(request, {}, errors)
            if errors:
                raise RequestValidationError(errors)
            if isinstance(answer, BaseModel):
                text = answer.model_dump_json(exclude_none=self.response_model_exclude_none)
                return Response(text, media_type="application/json")
            assert isinstance(answer, Response)  # noqa: S101  there is nothing else that an endpoint of ours gives
            return answer

        return handle


def _planned(dependant: Dependant) -> _Call | None:
    """Give how a function is called; None if it asks for what only FastAPI knows."""
    function = dependant.call
    more = (
        dependant.cookie_params,
        dependant.body_params,
        dependant.websocket_param_name,
        dependant.response_param_name,
        dependant.background_tasks_param_name,
        dependant.security_scopes_param_name,
    )
    if function is None or any(more) or not _is_async(function):
        return None
    dependencies = [(each.name, _planned(each)) for each in dependant.dependencies]
    fields = [
        _Field(each.name, each.alias.lower() if place is ParamTypes.header else each.alias, place, each)
        for place, found in (
            (ParamTypes.path, dependant.path_params),
            (ParamTypes.query, dependant.query_params),
            (ParamTypes.header, dependant.header_params),
        )
        for each in found
    ]
    planned = tuple((name, call) for name, call in dependencies if call is not None)
    if len(planned) < len(dependencies) or not all(map(_is_one_text, fields)):
        return None
    request = dependant.request_param_name or dependant.http_connection_param_name
    return _Call(function, request, planned, tuple(fields))


def _is_async(function: Any) -> bool:
    called = function if inspect.isroutine(function) else type(function).__call__
    return inspect.iscoroutinefunction(called)


def _is_one_text(field: _Field) -> bool:
    """Say whether a field is made of one text: not of several, and no model of several fields."""
    annotation = field.model.field_info.annotation
    kinds = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else [annotation]
    bare = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds]
    return all(isinstance(kind, type) and issubclass(kind, str | int | NoneType) for kind in bare)
