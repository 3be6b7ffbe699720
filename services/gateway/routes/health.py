"""For whoever runs it."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.gateway.parts import TheParts

router = APIRouter(include_in_schema=False)


@router.get("/health/live")
async def live() -> dict[str, str]:
    """It runs."""
    return {"status": "ok"}


@router.get("/health/ready")
async def ready(parts: TheParts, response: Response) -> dict[str, str]:
    """It can take requests: there are keys to know callers by. PostgreSQL may be away: what is written needs none."""
    keys, history = await parts.verifier.ready(), await parts.history.is_there()
    response.status_code = 200 if keys else 503
    return {
        "status": "ok" if keys else "unavailable",
        "keys": "ok" if keys else "unavailable",
        "history": "ok" if history else "unavailable",
    }


@router.get("/metrics")
async def metrics(parts: TheParts) -> Response:
    """What was counted."""
    return Response(generate_latest(parts.metrics.registry), media_type=CONTENT_TYPE_LATEST)
