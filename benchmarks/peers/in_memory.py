"""Dictionaries in one Python process: fast, and gone with it. A new one reads the whole log first, in silence."""

from collections.abc import Sequence

from aiokafka import TopicPartition

from benchmarks.peers.desk import Desk
from benchmarks.peers.loop import Send, follow, run
from benchmarks.peers.records import Command, write
from services.settings import Settings


async def main(settings: Settings) -> None:
    """Decide until cancelled."""
    desks: dict[bytes, Desk] = {}
    said_before: dict[int, int] = {}

    async def from_the_beginning(place: TopicPartition, committed: int) -> int:
        said_before[place.partition] = committed
        return 0

    async def decide(partition: int, commands: Sequence[Command], send: Send) -> None:
        answers = []
        for command in commands:
            desk = desks.get(command.key)
            if desk is None:
                desk = desks[command.key] = Desk(command.data["facility_id"], command.data["department_id"])
            said = desk.decide(command.type, command.data)
            if command.offset >= said_before[partition]:
                answers.append((command, write(command, desk.sequence + 1, said)))
            desk.sequence += len(said)
        await send(answers)

    await follow(settings, decide, start=from_the_beginning)


if __name__ == "__main__":
    run(main)
