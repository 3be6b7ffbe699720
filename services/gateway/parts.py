"""What the endpoints work with, and how a request reaches it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from services.gateway.engine import Engine
from services.gateway.estimates import Estimates
from services.gateway.feed import EventFeed
from services.gateway.history import History
from services.gateway.keys import Verifier
from services.gateway.limits import Limits
from services.gateway.metrics import GatewayMetrics
from services.gateway.streams import EventLog
from services.gateway.writes import Writes
from services.trail.trail import Trail
from services.vault.vault import Vault

if TYPE_CHECKING:
    from services.telemetry.spans import Spans


@dataclass(frozen=True)
class Parts:
    """One gateway's parts.

    Attributes:
        writes: commands in, outcomes out.
        history: what is read.
        feed: what is said from now on.
        events: what was said before.
        vault: who patients are; None without a key for it.
        trail: where it is noted who asked for what.
        estimates: when patients will be called.
        verifier: who calls.
        metrics: what is counted.
        partition_of: the partition of a department's key.
        engine: how the engine does.
        limits: how often one may ask; None: as often as one likes.
        spans: makes traces, where they are collected.
        verify_report: where the last audit's report stands.
    """

    writes: Writes
    history: History
    feed: EventFeed
    events: EventLog
    vault: Vault | None
    trail: Trail
    estimates: Estimates
    verifier: Verifier
    metrics: GatewayMetrics
    partition_of: Callable[[bytes], int]
    engine: Engine
    limits: Limits | None = None
    spans: "Spans | None" = None
    verify_report: Path | None = None


def parts_of(request: Request) -> Parts:
    """Give the parts of the gateway that a request came to."""
    return cast("Parts", request.app.state.parts)


async def _parts(request: Request) -> Parts:  # were it not async, FastAPI would ask a thread for it
    return parts_of(request)


TheParts = Annotated[Parts, Depends(_parts)]
