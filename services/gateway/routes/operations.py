"""How the engine does: for whoever runs it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import structlog
from fastapi import APIRouter

from services.allocator.owner import LogUnavailable
from services.gateway.access import Access, may
from services.gateway.openapi import read
from services.gateway.parts import TheParts
from services.gateway.permissions import Action
from services.gateway.problems import LOG_UNAVAILABLE, Problem
from services.gateway.shapes import AllocatorAtWork, Audit, Operations, PartitionAtWork

_log = structlog.stdlib.get_logger(__name__)

router = APIRouter(tags=["operations"])


@router.get("/operations", summary="How the engine does", responses=read(), response_model_exclude_unset=True)
async def read_operations(parts: TheParts, _access: Annotated[Access, may(Action.OPERATIONS)]) -> Operations:
    """Partitions, who works on them, and what the last audit found; of the whole system, whatever the claims name."""
    try:
        state = await parts.engine.state()
    except LogUnavailable:
        raise Problem(LOG_UNAVAILABLE) from None
    allocators = [AllocatorAtWork(member=name, partitions=list(owned)) for name, owned in state.allocators.items()]
    audit = last_audit(parts.verify_report)
    return Operations(
        partitions=[PartitionAtWork(**each._asdict()) for each in state.partitions],
        allocators=sorted(allocators, key=lambda each: each.partitions),
        **({} if audit is None else {"audit": audit}),
    )


def last_audit(file: Path | None) -> Audit | None:
    """Give what the file of `opd verify --report` says; None where there is none, or none that can be read."""
    if file is None:
        return None
    try:
        written_at, said = file.stat().st_mtime, json.loads(file.read_text())
        return Audit(
            at=datetime.fromtimestamp(written_at, UTC),
            holds=said["holds"],
            commands=said["commands"],
            invariants={name: each["holds"] for name, each in said["invariants"].items()},
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("the report of the last audit cannot be read", error=type(error).__name__)
        return None
