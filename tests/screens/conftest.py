"""A whole system with a board, and a browser to look at it."""

import asyncio
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from redis import Redis

from services.settings import Settings
from services.stack import KafkaServer, PostgresServer, ValkeyServer
from services.topics import ensure_topics
from tests.integration.gateways import running_gateway
from tests.screens import chromium
from tests.screens.board import RunningBoard, running_board
from tests.screens.hospital import where_it_is_ten

SEEN_WITHIN_MS = 60_000  # under load; alone it is well within a second
ASKED_AGAIN = re.compile("status of (412|503)")  # by pages, by themselves: the history is behind, the gateway is busy
WITH_ROOMS = "with-rooms"  # a facility whose first doctor of cardiology has one

Look = Callable[..., Page]


@pytest.fixture(scope="package")
def board(
    kafka_server: KafkaServer,
    valkey_server: ValkeyServer,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningBoard]:
    """All of it once; each test has a hospital of its own."""
    if chromium.find() is None:
        assert not chromium.is_needed(), chromium.MISSING
        pytest.skip(chromium.MISSING)
    mine, folder = uuid.uuid4().hex[:12], tmp_path_factory.mktemp("board")
    rooms = folder / "rooms.toml"
    rooms.write_text(f'["{WITH_ROOMS}/cardiology"]\ndr-1 = "12"\n')
    with Redis.from_url(valkey_server.url) as redis:
        redis.flushall()
    settings = Settings(
        kafka_bootstrap_servers=kafka_server.address,
        redis_url=valkey_server.url,
        postgres_url=postgres_server.url,
        history_schema=f"test_{mine}",
        commands_topic=f"commands.{mine}",
        events_topic=f"events.{mine}",
        dead_letters_topic=f"dead-letters.{mine}",
        consumer_group=f"allocator.{mine}",
        time_zone=where_it_is_ten(),
        board_rooms=rooms,
    )
    asyncio.run(ensure_topics(settings, partitions=2))
    with running_gateway(settings, folder) as gateway, running_board(settings, gateway, folder) as running:
        yield running
        assert "Traceback" not in running.service.process.log.read_text()


@pytest.fixture(scope="package")
def browser(board: RunningBoard) -> Iterator[Browser]:
    """A Chromium without a window. Its driver takes the thread's event loop: after all that needs one."""
    del board
    expect.set_options(timeout=SEEN_WITHIN_MS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def look(browser: Browser, board: RunningBoard) -> Iterator[Look]:
    """Open a page in a browser of its own; at the end none may have complained, or asked anybody but the board.

    Browsers complain of every refusal, too: `expecting` is what a test brings about on purpose. What pages ask again
    by themselves until it is answered is no fault of theirs, but a busy machine's: what they show is looked at.
    """
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_page(url: str, *, expecting: str = "nothing", **options: Any) -> Page:
            usual = {"viewport": {"width": 1280, "height": 900}, "timezone_id": board.zone}
            context = browser.new_context(**{**usual, **options})
            stack.callback(context.close)
            context.set_default_timeout(SEEN_WITHIN_MS)
            page = context.new_page()
            page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
            page.on("request", lambda each: _note_foreign(each.url, board.url, complaints))

            def note(message: Any) -> None:
                text = message.text
                if message.type == "error" and expecting not in text and not ASKED_AGAIN.search(text):
                    complaints.append(f"{page.url}: {text}")

            page.on("console", note)
            page.goto(url)
            return page

        yield open_page
    assert not complaints


def _note_foreign(url: str, ours: str, complaints: list[str]) -> None:
    if urlsplit(url).netloc != urlsplit(ours).netloc:
        complaints.append(f"asked {url}")
