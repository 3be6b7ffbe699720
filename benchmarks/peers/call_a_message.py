"""Redis, one Lua call a message: state in plain keys, decided by `call_a_message.lua`.

Answers stay in Redis until their offset is committed: what a crash interrupts is said again and not decided again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition
from pydantic_core import from_json, to_json

from benchmarks.peers.loop import Answer, Send, follow, one_by_one, run
from benchmarks.peers.records import Command, write
from services.redis import connect_redis
from services.settings import Settings

SCRIPT = Path(__file__).with_suffix(".lua")
BATCH_RECORDS = 500


async def decider(redis: Any, committed: Mapping[int, int]) -> Callable[[Command], Awaitable[Answer]]:
    """Give what decides one command; `committed` has the group's offset of each partition."""
    sha1 = await redis.execute_command("SCRIPT LOAD", SCRIPT.read_text())

    async def decide_one(command: Command) -> Answer:
        data = to_json(command.data)
        first_sequence, *said = await redis.execute_command(
            "EVALSHA", sha1, 1, command.key, command.offset, command.type, data, committed[command.partition]
        )
        events = zip(said[::2], said[1::2], strict=True)
        return write(command, int(first_sequence), [(name.decode(), from_json(data)) for name, data in events])

    return decide_one


async def main(settings: Settings) -> None:
    """Decide until cancelled."""
    committed: dict[int, int] = {}
    decide_one = await decider(connect_redis(settings.redis_url), committed)

    async def start(place: TopicPartition, offset: int) -> int:
        committed[place.partition] = offset
        return offset

    one_after_the_other = one_by_one(decide_one)

    async def decide(partition: int, commands: Sequence[Command], send: Send) -> None:
        committed[partition] = commands[0].offset
        await one_after_the_other(partition, commands, send)

    await follow(settings, decide, start=start, most=BATCH_RECORDS)


if __name__ == "__main__":
    run(main)
