"""One allocator as a process."""

import structlog

from services.allocator.app import Allocator
from services.serving import run_service
from services.settings import Settings
from services.topics import check_topics

log = structlog.get_logger(__name__)


def run_allocator(settings: Settings) -> None:
    """Run one allocator in this process, whose signals it takes over."""
    run_service(_run(settings))


async def _run(settings: Settings) -> None:
    topics = await check_topics(settings)
    for topic in topics:
        for note in topic.notes:
            log.warning("a topic works, but", topic=topic.name, note=note)
    await Allocator(settings, topics[0].partitions).run(settings.http_host, settings.http_port or 0)
