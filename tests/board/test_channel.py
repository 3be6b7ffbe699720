"""The newest state to all who look."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from pydantic_core import from_json

from services.board.channel import Channel, states
from tests.waiting import WITHIN_S


async def _next(stream: AsyncGenerator[bytes]) -> tuple[str, Any]:
    async with asyncio.timeout(WITHIN_S):
        head, data, *_ = (await anext(stream)).decode().split("\n")
    return head.removeprefix("id: "), from_json(data.removeprefix("data: "))


async def _is_silent(stream: AsyncGenerator[bytes]) -> bool:
    """Say whether it gives nothing, and leave it at an end."""
    given = asyncio.ensure_future(anext(stream))
    for _ in range(10):
        await asyncio.sleep(0)
    silent = not given.done()
    given.cancel()
    await asyncio.wait({given})
    return silent


def test_a_reader_has_the_newest_state_at_once_and_then_each_new_one() -> None:
    async def run() -> None:
        channel = Channel()
        channel.publish({"now": 1})
        stream = states([channel])
        assert (await _next(stream))[1] == {"now": 1}
        channel.publish({"now": 1})
        channel.publish({"now": 2})
        channel.publish({"now": 3})
        assert (await _next(stream))[1] == {"now": 3}, "a slow one is given the newest alone"
        assert await _is_silent(stream)

    asyncio.run(run())


def test_who_comes_back_with_the_state_is_not_given_it_again_not_even_by_another_board() -> None:
    async def run() -> None:
        first, second = Channel(), Channel()
        for channel in (first, second):
            channel.publish({"now": 1})
        last_id, _ = await _next(states([first]))
        stream = states([second], last_id)
        assert await _is_silent(stream)
        second.publish({"now": 2})
        assert (await _next(states([second], last_id)))[1] == {"now": 2}

    asyncio.run(run())


def test_who_comes_back_to_a_board_that_knows_nothing_yet_is_given_nothing_yet() -> None:
    async def run() -> None:
        channel = Channel()
        assert await _is_silent(states([channel], "0123456789abcdef"))
        channel.publish({"now": 1})
        assert (await _next(states([channel], "0123456789abcdef")))[1] == {"now": 1}

    asyncio.run(run())


def test_several_channels_share_a_stream_and_its_id_tells_of_each() -> None:
    async def run() -> None:
        channels = [Channel(), Channel()]
        stream = states(channels)
        channels[1].publish({"of": "b"})
        assert (await _next(stream))[1] == {"of": "b"}
        channels[0].publish({"of": "a"})
        last_id, state = await _next(stream)
        assert state == {"of": "a"}
        again = states(channels, last_id)
        assert await _is_silent(again)
        channels[1].publish({"of": "b", "now": 1})
        assert (await _next(states(channels, last_id)))[1] == {"of": "b", "now": 1}
        assert (await _next(states(channels, "not-one-of-ours")))[1] == {"of": "a"}

    asyncio.run(run())


def test_a_reader_who_leaves_is_told_nothing_more() -> None:
    async def run() -> None:
        channel = Channel()
        channel.publish({})
        stream = states([channel])
        await _next(stream)
        assert channel.is_read
        await stream.aclose()
        assert not channel.is_read

    asyncio.run(run())
