"""A write, from a request to its outcome: once on the log, whoever asks how often."""

import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import BaseModel

from schemas.commands import COMMANDS, Command
from schemas.plain import read_plain_command
from schemas.wire import UnreadableRecord, command_key, read_command
from schemas.words import RejectionReason
from services.allocator.owner import LogUnavailable
from services.gateway.feed import EventFeed
from services.gateway.history import History
from services.gateway.identity import Identity
from services.gateway.kafka import MaybeWritten, NotWritten
from services.gateway.metrics import GatewayMetrics
from services.gateway.problems import (
    HISTORY_UNAVAILABLE,
    INVALID_REQUEST,
    LOG_UNAVAILABLE,
    OUTCOME_UNKNOWN,
    FieldFault,
    Problem,
)
from services.gateway.said import EventPlace, Place, Said, read_said

if TYPE_CHECKING:
    from services.telemetry.spans import Spans

_OF_TYPE = {kind.__name__: kind for kind in COMMANDS}


class Log(Protocol):
    """The log of commands."""

    async def append(self, key: bytes, value: bytes) -> Place:
        """Write a command; raises NotWritten, MaybeWritten."""

    async def command_at(self, place: Place) -> Command | None:
        """Give the command that stands there; raises LogUnavailable."""


class Outcome(NamedTuple):
    """What became of a command.

    Attributes:
        place: where it stands.
        command: what it is.
        events: all that it caused; none while that is not known.
        is_replay: whether the same was asked for before, and this is what became of that.
    """

    place: Place
    command: Command
    events: Sequence[Said]
    is_replay: bool = False

    @property
    def position(self) -> EventPlace:
        """What the history must have come to, to know of it."""
        return self.events[-1].place if self.events else EventPlace(*self.place, 0)


class Writes:
    """Writes commands and finds out what became of them."""

    def __init__(
        self, log: Log, feed: EventFeed, history: History, metrics: GatewayMetrics, spans: "Spans | None" = None
    ) -> None:
        self._log, self._feed, self._history, self._metrics, self._spans = log, feed, history, metrics, spans

    async def ask(
        self, caller: Identity, kind: str, data: BaseModel, *, key: str | None = None, wait_s: float
    ) -> Outcome:
        """Write one command, and wait for what becomes of it.

        Args:
            caller: in whose name.
            kind: `RequestToken`, …
            data: the command's data.
            key: the caller's idempotency key; a new one if left out.
            wait_s: how long to wait for the outcome, once it is written.

        Raises:
            Problem: it cannot be written, or cannot be answered.
        """
        traceparent = None if self._spans is None else self._spans.traceparent()
        command = _command(caller, kind, data, key or str(uuid.uuid4()), traceparent)
        began = time.perf_counter()
        place = await self._written(command)
        values = await self._feed.outcome(place, timeout_s=wait_s) if wait_s else None
        if values is None:
            self._metrics.pending.inc()
            return Outcome(place, command, ())
        self._metrics.outcome.observe(time.perf_counter() - began)
        events = [read_said(value) for value in values]
        if events[0].data.get("reason") == RejectionReason.DUPLICATE_COMMAND and events[0].type == "CommandRejected":
            return await self._first(command, Outcome(place, command, events))
        return Outcome(place, command, events)

    async def at(self, place: Place) -> Outcome | None:
        """Give what became of the command at a place; None if there is none.

        Raises:
            Problem: Kafka or PostgreSQL does not answer.
        """
        command = await self._command_at(place)
        return None if command is None else Outcome(place, command, await self._history.events_of(place))

    async def was_sent_by(self, caller: Identity, place: Place) -> bool:
        """Say whether a command came in under the caller's own name.

        Raises:
            Problem: Kafka does not answer.
        """
        command = await self._command_at(place)
        return command is not None and command.source == caller.source

    async def _command_at(self, place: Place) -> Command | None:
        try:
            return await self._log.command_at(place)
        except LogUnavailable:
            raise Problem(LOG_UNAVAILABLE) from None

    async def _written(self, command: Command) -> Place:
        key, value = command_key(command), command.model_dump_json(exclude_none=True).encode()
        try:
            # What could not be read would have no outcome.
            if read_plain_command(key, value, 0) is None:
                read_command(key, value, 0)
        except UnreadableRecord as error:
            fault = FieldFault(field="body", fault=str(error))
            raise Problem(INVALID_REQUEST, errors=[fault]) from None
        try:
            return await self._log.append(key, value)
        except NotWritten:
            raise Problem(LOG_UNAVAILABLE, idempotency_key=command.id) from None
        except MaybeWritten:
            raise Problem(OUTCOME_UNKNOWN, idempotency_key=command.id) from None

    async def _first(self, command: Command, refused: Outcome) -> Outcome:
        """Give what became of the same command the first time; the refusal, if that cannot be found."""
        if not await self._history.has_reached(refused.position):
            raise Problem(HISTORY_UNAVAILABLE, idempotency_key=command.id)
        candidates = await self._history.commands_caused(
            command.id, command.data.facility_id, command.data.department_id, before=refused.place
        )
        for place in candidates:
            # PostgreSQL knows which commands had this id. Who sent them, the log alone knows.
            found = await self._command_at(place)
            if found is not None and found.source == command.source:
                return Outcome(place, found, await self._history.events_of(place), is_replay=True)
        return refused


def _command(caller: Identity, kind: str, data: BaseModel, key: str, traceparent: str | None) -> Command:
    envelope = {"specversion": "1.0", "id": key, "source": caller.source, "type": f"opd.{kind}.v1", "data": data}
    if traceparent is not None:
        envelope["traceparent"] = traceparent
    command: Command = _OF_TYPE[kind].model_validate(envelope)
    return command
