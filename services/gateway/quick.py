"""Routes that work out once how their endpoints are called, and how they are found, and not with every request.

FastAPI looks at each dependency anew each time, and for the route through all that there are: most of what a booking
costs the processor. What it found out of the signatures is kept (`Dependant`), and so are its documents, its order and
its errors; only the way through is ours. A route that asks for more than is known here is left to FastAPI.
"""

import inspect
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.params import ParamTypes
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

_Errors = list[Any]
_NOT_CALLED = object()


def _header(request: Request, name: str) -> str | None:
    """Give the first header of that name; Starlette's own look-up raises an error for each that is not there."""
    wanted = name.encode("latin-1")
    for each, value in request.scope["headers"]:
        if each == wanted:
            text: str = value.decode("latin-1")
            return text
    return None


_READ: dict[ParamTypes, Callable[[Request, str], str | None]] = {
    ParamTypes.path: lambda request, name: request.path_params.get(name),
    ParamTypes.query: lambda request, name: request.query_params.get(name),
    ParamTypes.header: _header,
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
        text = _READ[self.place](request, self.alias)
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


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class QuickRoute(APIRoute):
    """A route of ours."""

    def get_route_handler(self) -> Handler:
        """Give what answers a request."""
        return self.quick_handler() or super().get_route_handler()

    def quick_handler(self) -> Handler | None:
        """Give what answers a request without FastAPI; None if it is needed."""
        call = _planned(self.dependant)
        more = (self.body_field, self.status_code, self.response_model_include, self.response_model_exclude)
        leaves_out = self.response_model_exclude_unset or self.response_model_exclude_defaults
        if call is None or leaves_out or any(each is not None for each in more):
            return None

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


class Shortcut:
    """A layer of the application that leads to quick routes; whatever is for none of them goes on as before."""

    def __init__(
        self,
        app: ASGIApp,
        routes: Iterable[QuickRoute],
        handlers: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]],
    ) -> None:
        """The handlers are those of the application: they make answers of exceptions."""
        self._app, self._handlers = app, handlers
        self._fixed: dict[tuple[str, str], tuple[QuickRoute, Handler]] = {}
        self._others: defaultdict[tuple[str, int], list[tuple[QuickRoute, Handler]]] = defaultdict(list)
        for route in routes:
            handler = route.quick_handler()
            if handler is None:
                continue
            for method in route.methods or ():
                if route.param_convertors:
                    self._others[method, route.path.count("/")].append((route, handler))
                else:
                    self._fixed[method, route.path] = (route, handler)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        handler = self._find(scope) if scope["type"] == "http" else None
        if handler is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await handler(request)
        except Exception as error:
            known = next((self._handlers[kind] for kind in type(error).__mro__ if kind in self._handlers), None)
            if known is None:
                raise
            response = await known(request, error)
        await response(scope, receive, send)

    def _find(self, scope: Scope) -> Handler | None:
        method, path = scope["method"], scope["path"]
        found = self._fixed.get((method, path))
        if found is not None:
            scope["route"], scope["path_params"] = found[0], {}
            return found[1]
        for route, handler in self._others.get((method, path.count("/")), ()):
            matched = route.path_regex.match(path)
            if matched is not None:
                values = matched.groupdict().items()
                scope["route"] = route
                scope["path_params"] = {name: route.param_convertors[name].convert(value) for name, value in values}
                return handler
        return None


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
